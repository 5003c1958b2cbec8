-- KEYS uses, held, index, feed, meta. ARGV keep, stamp, claims of 45 bytes: token, id, limit, end.
-- Answers 5 bytes a claim: a letter and a number.
local uses, held, index, feed, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local claims = ARGV[3]
local changes, answers, ends = {}, {}, {}

local function ends_at(key, till)
  ends[#ends + 1] = score(till)
  ends[#ends + 1] = key
end

local purged = call('HGET', meta, 'purged')

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
    ends_at(key, till)
    if count >= of then changes[#changes + 1] = 'S' .. key .. till end
  end
  return 'W' .. struct.pack('>I4', of - count)
end

for at = 1, #claims, 45 do
  local key, id = claims:sub(at, at + 15), claims:sub(at + 16, at + 31)
  local limit, till = claims:sub(at + 32, at + 35), claims:sub(at + 36, at + 44)
  local answer
  if purged and till:byte(1) == 0 and less(till:sub(2), purged) then
    answer = 'P\0\0\0\0'
  elseif limit == ONE then
    if call('HSETNX', uses, key, '\0\0\0\1\0\0\0\1' .. till .. id) == 1 then
      ends_at(key, till)
      changes[#changes + 1] = 'S' .. key .. till
      answer = 'W\0\0\0\0'
    end
  elseif call('HSETNX', uses, key, limit .. ONE .. till) == 1 then
    call('ZADD', held, 0, key .. id)
    ends_at(key, till)
    answer = 'W' .. struct.pack('>I4', struct.unpack('>I4', limit) - 1)
  end
  answers[#answers + 1] = answer or ask_again(key, id, limit, till)
end
if #ends > 0 then call('ZADD', index, unpack(ends)) end
announce(feed, meta, ARGV[1], ARGV[2], changes)
return table.concat(answers)
