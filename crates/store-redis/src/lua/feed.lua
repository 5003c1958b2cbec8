-- Reads the feed. ARGV: page size; the id and stamp of the last entry seen, or '' to
-- read only the last entry. Returns 'ok', 'old' (trimmed) or 'back' (unknown entry), then id, stamp and
-- changes of each entry.
local at_most, seen, stamp = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local rejected = no_writes(meta)
if rejected then return redis.error_reply(rejected) end
local floor = call('HGET', meta, 'floor')

if seen == '' then
  local last = call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
  if last then return { 'ok', last[1], last[2][4], '' } end
  if floor then return { 'ok', floor:sub(9), floor:sub(1, 8), '' } end
  return { 'ok' }
end

local function earlier(one, other)
  local a, b = one:match('^(%d+)-(%d+)$')
  local c, d = other:match('^(%d+)-(%d+)$')
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  return a < c or (a == c and b < d)
end

local entries
if seen == '0-0' then
  if floor then return { 'old' } end
  entries = call('XRANGE', feed, '-', '+', 'COUNT', at_most)
else
  entries = call('XRANGE', feed, seen, '+', 'COUNT', at_most + 1)
  local first = entries[1]
  if first and first[1] == seen then
    if first[2][4] ~= stamp then return { 'back' } end
    table.remove(entries, 1)
  elseif floor ~= stamp .. seen then
    if floor and earlier(seen, floor:sub(9)) then return { 'old' } end
    return { 'back' }
  end
end
local answer = { 'ok' }
for i = 1, math.min(#entries, at_most) do
  local entry = entries[i]
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = entry[2][4]
  answer[#answer + 1] = entry[2][2]
end
return answer
