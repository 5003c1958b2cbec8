-- Takes uses. KEYS: all, or the first two if the uses are of distinct single-use tokens and trim nothing.
-- ARGV: how to trim, stamp, the changes if all are first uses, the earliest
-- expiry as a score; then of each use the key and the value if it is the first: limit, 1, expiry, id.
-- Returns 5 bytes for each use: a letter and a number.
local changes, answers = {}, {}

local purged = call('HGET', uses, 'purged')

local function ask_again(key, id, limit, till)
  local old = call('HGET', uses, key)
  local old_limit, old_till = old:sub(1, 4), old:sub(9, 17)
  if old_limit ~= limit then return 'O' .. old_limit end
  local of = struct.unpack('>I4', limit)
  local count = struct.unpack('>I4', old:sub(5, 8))
  local mine
  if limit == ONE then
    mine = old:sub(18) == id
  else
    mine = call('ZSCORE', held, key .. id)
  end
  local was_spent = count >= of
  if not mine then
    if was_spent then return 'S\0\0\0\0' end
    count = count + 1
    if limit ~= ONE then call('ZADD', held, 0, key .. id) end
  end
  till = later(old_till, till)
  if not mine or till ~= old_till then
    local value = limit .. struct.pack('>I4', count) .. till
    if limit == ONE then value = value .. id end
    call('HSET', uses, key, value)
    if count >= of then
      -- With its old expiry it is in the index, or in the feed from which it gets there.
      changes[#changes + 1] = (till == old_till and 'A' or 'S') .. key .. till
    else
      -- It is not in the feed, from which others get into the index.
      call('ZADD', uses_index, 'GT', score(till), key)
    end
  end
  return 'W' .. struct.pack('>I4', of - count)
end

for at = 5, #ARGV, 2 do
  local key, first = ARGV[at], ARGV[at + 1]
  local limit, till, id = first:sub(1, 4), first:sub(9, 17), first:sub(18)
  local answer
  if purged and tonumber(score(till)) < tonumber(purged) then
    answer = 'P\0\0\0\0'
  elseif limit == ONE then
    if call('HSETNX', uses, key, first) == 1 then
      changes[#changes + 1] = 'S' .. key .. till
      answer = 'W\0\0\0\0'
    end
  elseif call('HSETNX', uses, key, first:sub(1, 17)) == 1 then
    call('ZADD', held, 0, key .. id)
    call('ZADD', uses_index, 'GT', score(till), key)
    answer = 'W' .. struct.pack('>I4', struct.unpack('>I4', limit) - 1)
  end
  answers[#answers + 1] = answer or ask_again(key, id, limit, till)
end
announce(ARGV[1], ARGV[2], changes)
return table.concat(answers)
