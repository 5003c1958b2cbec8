-- Claims wait in a list for their place in the index (score and keys, score and keys), so that keys
-- that end together get one place. The length of a place must fit a byte: a cursor has it in one.
local TOGETHER = 15

local function index_waiting(waiting, index)
  local all = call('LRANGE', waiting, 0, -1)
  if #all == 0 then return end
  -- Deleted first: a full server lets a script add only after that.
  call('DEL', waiting)
  local by_end = {}
  for i = 1, #all, 2 do
    local keys = by_end[all[i]] or {}
    keys[#keys + 1] = all[i + 1]
    by_end[all[i]] = keys
  end
  local length = 16 * TOGETHER
  for till, keys in pairs(by_end) do
    keys = table.concat(keys)
    for at = 1, #keys, length do
      -- Never back: the same keys may have waited for two ends.
      call('ZADD', index, 'GT', till, keys:sub(at, at + length - 1))
    end
  end
end
