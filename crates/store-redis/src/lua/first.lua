-- Most claims are the first of a single use. Where all of a batch are, they cost one command of each
-- kind, and not the making of what other claims need, which stands below; `claim.lua` says what is in
-- KEYS and ARGV. Answers 1 if all have won, and goes on there if it is not so plain.
if #KEYS == 3 then
  local from = 6 + ARGV[5]
  local keys, seen, all_first = {}, {}, true
  for at = from, #ARGV, 2 do
    local key = ARGV[at]
    all_first = all_first and not seen[key]
    seen[key] = true
    keys[#keys + 1] = key
  end
  local found = redis.call('HMGET', KEYS[1], 'purged', unpack(keys))
  for i = 2, #found do all_first = all_first and not found[i] end
  if all_first and (not found[1] or tonumber(ARGV[4]) >= tonumber(found[1])) then
    redis.call('HSET', KEYS[1], unpack(ARGV, from))
    redis.call('RPUSH', KEYS[2], unpack(ARGV, 6, from - 1))
    redis.call('XADD', KEYS[3], '*', 'c', ARGV[3], 'n', ARGV[2])
    return 1
  end
end
