-- Shared by all scripts. A time is 8 bytes, big-endian; an expiry is a byte, 1 for none or 0, and a
-- time. They are compared as numbers, since Lua compares strings by the server's locale.
local call = redis.call
-- The order is that of `Keys::all`. A script that is given other keys says so.
local uses, feed, meta, held, uses_index = unpack(KEYS)
local listed, details, lifted, listed_index, lifted_index = unpack(KEYS, 6)
local ONE = '\0\0\0\1'

-- Why the server takes no writes, or nil: it is a replica, or has too few replicas. Deletes a field that
-- never exists, so nothing is written. A disk that is full does not make the server's answers stale.
local function no_writes(meta)
  local answer = redis.pcall('HDEL', meta, '')
  local failure = type(answer) == 'table' and answer.err or ''
  return failure:match('READONLY.*') or failure:match('NOREPLICAS.*')
end

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

-- An expiry as the score of an index: exact for the next 285 million years.
local function score(till)
  if till:byte(1) == 1 then return '+inf' end
  local high, low = struct.unpack('>I4I4', till, 2)
  local secs = high * 4294967296 + low
  if secs > 9007199254740991 then return '9007199254740991' end
  return string.format('%.0f', secs)
end

-- Keys that expire together share a member of the index of uses, up to so many: a member costs the
-- server more memory than its bytes.
local TOGETHER = 60

-- The length of a change in the feed by its letter. A group is 'G', a count, an expiry and the keys.
-- 'S' is a token whose uses are all taken, 'A' one for which that is so again after a return: it is in
-- the index already. 'T', 'U' and 'V' are revocations, by the letter of their kind.
local LENGTHS = { S = 26, A = 26, F = 17, L = 34, T = 34, U = 42, V = 34 }

-- The number of changes in an entry of the feed.
local function count_of(entry)
  local changes, at, count = entry[2][2], 1, 0
  while at <= #changes do
    local letter = changes:sub(at, at)
    local grouped = letter == 'G' and struct.unpack('>I4', changes, at + 1)
    count = count + (grouped or 1)
    at = at + (grouped and 14 + 16 * grouped or LENGTHS[letter])
  end
  return count
end

-- The spent tokens in the feed that are not in the index of uses yet: strings of keys by their end.
-- Also the id of the last entry, or nil if all are indexed, and the number of changes since.
local function not_indexed()
  local from = call('HGET', meta, 'indexed')
  local by_end, last, count = {}, nil, 0
  local function add(till, keys)
    local all = by_end[till] or {}
    all[#all + 1] = keys
    by_end[till] = all
  end
  for _, entry in ipairs(call('XRANGE', feed, from and '(' .. from or '-', '+')) do
    local changes, at = entry[2][2], 1
    last, count = entry[1], count + count_of(entry)
    while at <= #changes do
      local letter = changes:sub(at, at)
      if letter == 'G' then
        local length = 16 * struct.unpack('>I4', changes, at + 1)
        add(changes:sub(at + 5, at + 13), changes:sub(at + 14, at + 13 + length))
        at = at + 14 + length
      else
        if letter == 'S' then add(changes:sub(at + 17, at + 25), changes:sub(at + 1, at + 16)) end
        at = at + LENGTHS[letter]
      end
    end
  end
  for till, keys in pairs(by_end) do by_end[till] = table.concat(keys) end
  return by_end, last, count
end

-- Sets fields of a hash. Deletes one first: a full server lets a script add only after that.
local function note(hash, field, ...)
  call('HDEL', hash, field)
  call('HSET', hash, field, ...)
end

-- Returns the number of changes in the feed.
local function index_spent()
  local by_end, last, count = not_indexed()
  count = count + tonumber(call('HGET', meta, 'kept') or 0)
  if not last then return count end
  note(meta, 'indexed', last, 'kept', count)
  local length = 16 * TOGETHER
  for till, keys in pairs(by_end) do
    local last_second = score(till)
    for at = 1, #keys, length do
      -- Never to a lower score: the same keys may have been spent with two expiries.
      call('ZADD', uses_index, 'GT', last_second, keys:sub(at, at + length - 1))
    end
  end
  return count
end

-- About how many changes are trimmed at once.
local TRIMMED_AT_ONCE = 4096

-- Trims entries older than the retention or beyond the capacity, which `keep` has, once their uses are
-- indexed. Notes the last one that was trimmed: a reader that has seen that one has missed nothing.
-- Returns whether there may be more to trim.
local function trim(keep)
  local retention, capacity = keep:match('^(%d+) (%d+)$')
  local time = call('TIME')
  local before = time[1] * 1000 + math.floor(time[2] / 1000) - retention
  local had = index_spent()
  local kept, trimmed, last = had, 0, nil
  local function read(count)
    local page = call('XRANGE', feed, last and '(' .. last[1] or '-', '+', 'COUNT', count)
    for _, entry in ipairs(page) do
      local is_old = tonumber(entry[1]:match('^%d+')) < before
      if not is_old and kept <= tonumber(capacity) then return false end
      kept, trimmed, last = kept - count_of(entry), trimmed + 1, entry
    end
    return #page > 0
  end
  -- Mostly there is nothing to trim.
  local more = read(1)
  while more and had - kept < TRIMMED_AT_ONCE do more = read(64) end
  if last then
    note(meta, 'floor', last[2][4] .. last[1], 'kept', kept)
    call('XTRIM', feed, 'MAXLEN', '=', call('XLEN', feed) - trimmed)
  end
  return more
end

-- Adds changes as one entry, and trims the feed unless `keep` is ''. The random stamp distinguishes
-- the entry from those of any other history. `first.lua` adds such entries too.
local function announce(keep, stamp, changes)
  if #changes > 0 then
    call('XADD', feed, '*', 'c', table.concat(changes), 'n', stamp)
  end
  if keep ~= '' then trim(keep) end
end
