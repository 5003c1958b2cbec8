-- Writes something, so that a WAIT after it covers all that was written before. KEYS: meta.
-- Deleted first: a full server lets a script add only after that.
redis.call('HDEL', KEYS[1], 'mark')
return redis.call('HSET', KEYS[1], 'mark', '')
