-- Stores an issued token. KEYS: rows, rows by end. ARGV: end, hash, row. Returns 0 if there is a row
-- with this hash.
if redis.call('HSETNX', KEYS[1], ARGV[2], ARGV[3]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
return 1
