-- KEYS listed, details, lifted, uses, held, listed index, lifted index, uses index, feed, meta,
-- waiting.
-- ARGV keep, before, at most. Answers how many entries went, and whether there may be more.
local listed, details, lifted, uses, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local listed_index, lifted_index, uses_index = KEYS[6], KEYS[7], KEYS[8]
local feed, meta = KEYS[9], KEYS[10]
local before, at_most = ARGV[2], tonumber(ARGV[3])
local went, more = 0, 0

local purged, now = call('HGET', uses, 'purged'), score('\0' .. before)
if not purged or tonumber(purged) < tonumber(now) then
  -- Deleted first: a full server lets a script add only after that.
  call('HDEL', uses, 'purged')
  call('HSET', uses, 'purged', now)
end
index_waiting(KEYS[11], uses_index)
local ended = '(' .. now

local function ended_in(index)
  local keys = call('ZRANGEBYSCORE', index, '-inf', ended, 'LIMIT', 0, at_most)
  if #keys == at_most then more = 1 end
  return keys
end

local function has_ended(till)
  return till:byte(1) == 0 and less(till:sub(2), before)
end

for _, key in ipairs(ended_in(listed_index)) do
  call('HDEL', listed, key)
  call('HDEL', details, key)
  call('ZREM', listed_index, key)
  went = went + 1
end
for _, key in ipairs(ended_in(lifted_index)) do
  call('HDEL', lifted, key)
  call('ZREM', lifted_index, key)
end
local seen = 0
for _, keys in ipairs(ended_in(uses_index)) do
  if seen >= at_most then
    more = 1
    break
  end
  for at = 1, #keys, 16 do
    local key = keys:sub(at, at + 15)
    local old = call('HGET', uses, key)
    -- One that was claimed until later since then stands in the index a second time.
    if old and has_ended(old:sub(9, 17)) then
      if old:sub(1, 4) ~= ONE then
        call('ZREMRANGEBYLEX', held, '[' .. key, '[' .. key .. string.rep('\255', 16))
      end
      local count = struct.unpack('>I4', old:sub(5, 8))
      went = went + math.max(1, count)
      call('HDEL', uses, key)
    end
    seen = seen + 1
  end
  call('ZREM', uses_index, keys)
end
trim(feed, meta, tonumber(ARGV[1]))
return { went, more }
