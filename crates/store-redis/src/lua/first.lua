-- The fast path of `take_use.lua`, which states KEYS and ARGV: most uses are first uses of single-use
-- tokens. A batch of only those costs one command of each kind, and skips the definitions below.
-- Returns 1 if all uses were taken; otherwise continues with `take_use.lua`.
if #KEYS == 2 then
  local call, keys, count = redis.call, {}, 0
  for at = 5, #ARGV, 2 do
    count = count + 1
    keys[count] = ARGV[at]
  end
  local found = call('HMGET', KEYS[1], 'purged', unpack(keys, 1, count))
  local all_first = not found[1] or tonumber(ARGV[4]) >= tonumber(found[1])
  for i = 2, count + 1 do all_first = all_first and not found[i] end
  if all_first then
    call('HSET', KEYS[1], unpack(ARGV, 5))
    call('XADD', KEYS[2], '*', 'c', ARGV[3], 'n', ARGV[2])
    return 1
  end
end
