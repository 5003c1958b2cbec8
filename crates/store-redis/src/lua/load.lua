-- Reads a page of an index by score. KEYS: index, values; for uses then feed and meta, for revocations
-- then details or none. ARGV: page size; 'uses' or 'listed'; score and member to continue after, or ''.
-- Returns score and member to continue after, or '' at the end; then key, value and details of each
-- entry. The keys of one member are never split, so a page may be slightly larger.
local index, values, third = KEYS[1], KEYS[2], KEYS[3]
local at_most, are_uses = tonumber(ARGV[1]), ARGV[2] == 'uses'
local last_score, last_keys = ARGV[3], ARGV[4]
if are_uses then index_spent(third, KEYS[4], index) end

local from = 0
if last_keys ~= '' then
  local now = call('ZSCORE', index, last_keys)
  if now ~= last_score then
    -- Removed first: a full server lets a script add only after that.
    call('ZREM', index, last_keys)
    call('ZADD', index, last_score, last_keys)
  end
  from = call('ZRANK', index, last_keys) + 1
  if not now then
    -- It was removed since: it was only added to find its rank.
    call('ZREM', index, last_keys)
    from = from - 1
  elseif now ~= last_score then
    call('ZADD', index, now, last_keys)
    -- It moved: members behind its old rank moved up by one, unless its new rank is before them.
    local rank = call('ZRANK', index, last_keys)
    if rank >= from - 1 then from = from - 1 end
  end
end

-- A member of the index of uses has one key or many.
local places = are_uses and 64 or at_most
local keys, found_all = {}, false
while #keys < at_most and not found_all do
  local page = call('ZRANGE', index, from, from + places - 1, 'WITHSCORES')
  found_all = #page < 2 * places
  for i = 1, #page, 2 do
    if #keys >= at_most then
      found_all = false
      break
    end
    last_keys, last_score = page[i], page[i + 1]
    for at = 1, #last_keys, 16 do keys[#keys + 1] = last_keys:sub(at, at + 15) end
  end
  from = from + places
end
if found_all then last_score, last_keys = '', '' end
local answer = { last_score, last_keys }
if #keys == 0 then return answer end
local found = call('HMGET', values, unpack(keys))
local said
if third and not are_uses then said = call('HMGET', third, unpack(keys)) end
for i = 1, #keys do
  answer[#answer + 1] = keys[i]
  answer[#answer + 1] = found[i] or ''
  answer[#answer + 1] = said and said[i] or ''
end
return answer
