-- KEYS uses, waiting, feed; of claims that may be more than the first ones of single uses, or that
-- trim the feed, also meta, held, index. ARGV keep, stamp, the changes if all are first, the earliest
-- end as a score, how many arguments are to wait for the index, these (scores and keys), and then of
-- each claim the key and what is kept if it is the first: limit, 1, end, id.
-- Answers 5 bytes a claim: a letter and a number.
local uses, waiting, feed, meta, held, index = unpack(KEYS)
local changes, answers, ends = {}, {}, {}

local function ends_at(key, till)
  ends[#ends + 1] = score(till)
  ends[#ends + 1] = key
end

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
    ends_at(key, till)
    if count >= of then changes[#changes + 1] = 'S' .. key .. till end
  end
  return 'W' .. struct.pack('>I4', of - count)
end

for at = 6 + ARGV[5], #ARGV, 2 do
  local key, first = ARGV[at], ARGV[at + 1]
  local limit, till, id = first:sub(1, 4), first:sub(9, 17), first:sub(18)
  local answer
  if purged and tonumber(score(till)) < tonumber(purged) then
    answer = 'P\0\0\0\0'
  elseif limit == ONE then
    if call('HSETNX', uses, key, first) == 1 then
      ends_at(key, till)
      changes[#changes + 1] = 'S' .. key .. till
      answer = 'W\0\0\0\0'
    end
  elseif call('HSETNX', uses, key, first:sub(1, 17)) == 1 then
    call('ZADD', held, 0, key .. id)
    ends_at(key, till)
    answer = 'W' .. struct.pack('>I4', struct.unpack('>I4', limit) - 1)
  end
  answers[#answers + 1] = answer or ask_again(key, id, limit, till)
end
if #ends > 0 then call('RPUSH', waiting, unpack(ends)) end
if ARGV[1] ~= '' then index_waiting(waiting, index) end
announce(feed, meta, ARGV[1], ARGV[2], changes)
return table.concat(answers)
