-- What all scripts share. Times are 8 bytes, big-endian; an end is a byte that says "for ever" (1)
-- or not (0), and a time. Compared by numbers: Lua compares strings by the server's locale.
local call = redis.call
local ONE = '\0\0\0\1'

local function less(a, b)
  local ah, al = struct.unpack('>I4I4', a)
  local bh, bl = struct.unpack('>I4I4', b)
  return ah < bh or (ah == bh and al < bl)
end

local function max(a, b)
  if less(a, b) then return b end
  return a
end

local function later(a, b)
  if a:byte(1) == 1 then return a end
  if b:byte(1) == 1 or less(a:sub(2), b:sub(2)) then return b end
  return a
end

-- An end as the score of an index: exact for the next 285 million years.
local function score(till)
  if till:byte(1) == 1 then return '+inf' end
  local high, low = struct.unpack('>I4I4', till, 2)
  local secs = high * 4294967296 + low
  if secs > 9007199254740991 then return '9007199254740991' end
  return string.format('%.0f', secs)
end

-- Drops from the feed what is older than it is kept, and notes the last that went: who has seen
-- that one has missed nothing.
local function trim(feed, meta, keep)
  local time = call('TIME')
  local before = time[1] * 1000 + math.floor(time[2] / 1000) - keep
  -- Looked at first: from a place before all entries, Redis would search them all.
  local first = call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
  if not first or tonumber(first[1]:match('^%d+')) >= before then return end
  local last = call('XREVRANGE', feed, string.format('%.0f', before - 1), '-', 'COUNT', 1)[1]
  if last then
    call('HSET', meta, 'floor', last[2][4] .. last[1])
    call('XTRIM', feed, 'MINID', '=', string.format('%.0f', before))
  end
end

-- Writes changes down as one entry, and trims the feed unless `keep` is ''. The stamp is random: no
-- other history has the same entry.
local function announce(feed, meta, keep, stamp, changes)
  if #changes == 0 then return end
  call('XADD', feed, '*', 'c', table.concat(changes), 'n', stamp)
  if keep ~= '' then trim(feed, meta, tonumber(keep)) end
end
