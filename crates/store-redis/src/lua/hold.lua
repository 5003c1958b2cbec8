-- Lists a token under its holder. KEYS: places, places by end. ARGV: end, place.
redis.call('ZADD', KEYS[1], 0, ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
return 1
