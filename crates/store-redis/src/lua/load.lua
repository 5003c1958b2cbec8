-- Reads a page of an index by score, and writes nothing. ARGV: page size; 'uses', 'listed', or 'records'
-- for revocations with details; score and member to continue after, or ''. Returns score and member to continue after, or '' at the end; then key, value
-- and details of each entry. The keys of one member are never split, and the first page of uses has all
-- that are not indexed yet, so a page may be larger.
local at_most, are_uses = tonumber(ARGV[1]), ARGV[2] == 'uses'
local index, values = listed_index, listed
if are_uses then index, values = uses_index, uses end
local last_score, last_keys = ARGV[3], ARGV[4]

-- Members with one score are ordered by their bytes.
local function is_after(one, other)
  for at = 1, math.min(#one, #other) do
    local a, b = one:byte(at), other:byte(at)
    if a ~= b then return a > b end
  end
  return #one > #other
end

-- The rank of the first member to read.
local from = 0
if last_keys ~= '' then
  if call('ZSCORE', index, last_keys) == last_score then
    from = call('ZRANK', index, last_keys) + 1
  else
    -- The last one read was removed since, or has moved.
    from = call('ZCOUNT', index, '-inf', '(' .. last_score)
    local to = from + call('ZCOUNT', index, last_score, last_score)
    while from < to do
      local middle = math.floor((from + to) / 2)
      if is_after(call('ZRANGE', index, middle, middle)[1], last_keys) then
        to = middle
      else
        from = middle + 1
      end
    end
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
if are_uses and ARGV[4] == '' then
  for _, more in pairs((not_indexed())) do
    for at = 1, #more, 16 do keys[#keys + 1] = more:sub(at, at + 15) end
  end
end
-- Lua passes a function at most some thousands of arguments.
for first = 1, #keys, 1000 do
  local last = math.min(first + 999, #keys)
  local found, said = call('HMGET', values, unpack(keys, first, last)), nil
  if ARGV[2] == 'records' then said = call('HMGET', details, unpack(keys, first, last)) end
  for i = first, last do
    answer[#answer + 1] = keys[i]
    answer[#answer + 1] = found[i - first + 1] or ''
    answer[#answer + 1] = said and said[i - first + 1] or ''
  end
end
return answer
