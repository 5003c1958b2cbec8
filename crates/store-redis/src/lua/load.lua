-- KEYS index, values, details (or none). ARGV at most, and the score and key after which to go on
-- ('' at the start). Answers key, score, value and details of each, by score and key.
local index, values = KEYS[1], KEYS[2]
local at_most, last_score, last_key = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local from = 0
if last_key ~= '' then
  local now = call('ZSCORE', index, last_key)
  if now ~= last_score then call('ZADD', index, last_score, last_key) end
  from = call('ZRANK', index, last_key) + 1
  if not now then
    -- It went since: only its place was wanted.
    call('ZREM', index, last_key)
    from = from - 1
  elseif now ~= last_score then
    call('ZADD', index, now, last_key)
    -- It moved: what stood behind its old place moved up by one, unless it went before it.
    local rank = call('ZRANK', index, last_key)
    if rank >= from - 1 then from = from - 1 end
  end
end

local page = call('ZRANGE', index, from, from + at_most - 1, 'WITHSCORES')
if #page == 0 then return {} end
local keys = {}
for i = 1, #page, 2 do keys[#keys + 1] = page[i] end
local found = call('HMGET', values, unpack(keys))
local said
if KEYS[3] then said = call('HMGET', KEYS[3], unpack(keys)) end
local answer = {}
for i = 1, #keys do
  answer[#answer + 1] = keys[i]
  answer[#answer + 1] = page[2 * i]
  answer[#answer + 1] = found[i] or ''
  answer[#answer + 1] = said and said[i] or ''
end
return answer
