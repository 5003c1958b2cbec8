-- Returns a use. ARGV: how to trim, stamp, token, use id. Returns 1 if the use was taken under that id.
local key, id = ARGV[3], ARGV[4]
local old = call('HGET', uses, key)
if not old then return 0 end
local limit, count = old:sub(1, 4), struct.unpack('>I4', old:sub(5, 8))
if limit == ONE then
  if old:sub(18) ~= id then return 0 end
elseif call('ZREM', held, key .. id) == 0 then
  return 0
end
local was_spent = count >= struct.unpack('>I4', limit)
call('HSET', uses, key, limit .. struct.pack('>I4', count - 1) .. old:sub(9, 17))
if was_spent then announce(ARGV[1], ARGV[2], { 'F' .. key }) end
return 1
