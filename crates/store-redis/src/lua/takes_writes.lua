-- Fails unless the server takes writes. KEYS: meta.
local rejected = no_writes(KEYS[1])
if rejected then return redis.error_reply(rejected) end
return 1
