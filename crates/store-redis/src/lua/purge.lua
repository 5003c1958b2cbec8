-- Removes expired entries. ARGV: how to trim the feed, the time before which entries expired, page size.
-- Returns how many entries were removed, and whether there may be more.
local before, at_most = ARGV[2], tonumber(ARGV[3])
local went, more = 0, 0
-- Members of the index of uses that are read at once.
local PLACES = 8

local purged, now = call('HGET', uses, 'purged'), score('\0' .. before)
if not purged or tonumber(purged) < tonumber(now) then note(uses, 'purged', now) end
if trim(ARGV[1]) then more = 1 end
local ended = '(' .. now

local function ended_in(index, limit)
  return call('ZRANGEBYSCORE', index, '-inf', ended, 'LIMIT', 0, limit)
end

local function page_of(index)
  local keys = ended_in(index, at_most)
  if #keys == at_most then more = 1 end
  return keys
end

local function has_ended(till)
  return till:byte(1) == 0 and less(till:sub(2), before)
end

for _, key in ipairs(page_of(listed_index)) do
  call('HDEL', listed, key)
  call('HDEL', details, key)
  call('ZREM', listed_index, key)
  went = went + 1
end
for _, key in ipairs(page_of(lifted_index)) do
  call('HDEL', lifted, key)
  call('ZREM', lifted_index, key)
end

-- Those of issued tokens come last.
local issued, issued_index, holders, holders_index = unpack(KEYS, 11)
for _, hash in ipairs(page_of(issued_index)) do
  call('HDEL', issued, hash)
  call('ZREM', issued_index, hash)
  went = went + 1
end
for _, place in ipairs(page_of(holders_index)) do
  call('ZREM', holders, place)
  call('ZREM', holders_index, place)
end

local seen = 0

-- Whether all of the token's uses were removed.
local function drop_use(key)
  seen = seen + 1
  local old = call('HGET', uses, key)
  -- A token whose use was prolonged is in the index twice.
  if not old or not has_ended(old:sub(9, 17)) then return true end
  if old:sub(1, 4) ~= ONE then
    local first, last = '[' .. key, '[' .. key .. string.rep('\255', 16)
    local some = call('ZRANGEBYLEX', held, first, last, 'LIMIT', 0, at_most)
    if #some > 0 then call('ZREM', held, unpack(some)) end
    seen = seen + #some
    if #some == at_most then return false end
  end
  local count = struct.unpack('>I4', old:sub(5, 8))
  went = went + math.max(1, count)
  call('HDEL', uses, key)
  return true
end

-- A member has one key or many, and is removed after the last of them.
local function drop_place(keys)
  for at = 1, #keys, 16 do
    if seen >= at_most or not drop_use(keys:sub(at, at + 15)) then return end
  end
  call('ZREM', uses_index, keys)
end

local places = ended_in(uses_index, PLACES)
while #places > 0 and seen < at_most do
  for _, keys in ipairs(places) do drop_place(keys) end
  places = ended_in(uses_index, PLACES)
end
if #places > 0 then more = 1 end
return { went, more }
