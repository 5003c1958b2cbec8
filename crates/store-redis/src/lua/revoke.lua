-- Executes commands on revocations. Their kinds are 'T' (a token), 'U' (a rule) and 'V' (a spent
-- token). ARGV: how to trim, stamp, then pairs of a command and details for operators. A command is a letter, a key and, for 'R' and 'B' (revoke, restore): kind, expiry, time, of a rule
-- also issued at or before; for 'L' (lift): time; for 'D' (restore a lift): time, expiry. Returns 1 or
-- 0 for each: whether it had an effect.
local changes, answers = {}, {}

local function next_second(time)
  local high, low = struct.unpack('>I4I4', time)
  if low < 4294967295 then return struct.pack('>I4I4', high, low + 1) end
  if high < 4294967295 then return struct.pack('>I4I4', high + 1, 0) end
  return time
end

local function list(key, kind, till, at, before, said)
  local old = call('HGET', listed, key)
  local new = true
  if old then
    local old_kind, old_till = old:sub(1, 1), old:sub(2, 10)
    local old_at, old_before = old:sub(11, 18), old:sub(19)
    if (kind == 'U') ~= (old_kind == 'U') then
      kind, till, before = old_kind, old_till, old_before
    else
      till = later(old_till, till)
      if kind == 'U' then before = max(old_before, before) end
    end
    -- Revoked takes precedence over spent, and keeps its details.
    if kind == 'V' and old_kind == 'T' then kind, said = 'T', '' end
    at = max(old_at, at)
    new = kind ~= old_kind or till ~= old_till or at ~= old_at or before ~= old_before
  end
  if new then
    local value = kind .. till .. at .. before
    call('HSET', listed, key, value)
    call('ZADD', listed_index, score(till), key)
    changes[#changes + 1] = kind .. key .. value:sub(2)
  end
  if said ~= '' then call('HSET', details, key, said) end
end

-- A lift is kept as long as anything that it lifted would have been. Without a time, the last lift is
-- only kept for longer.
local function remember_lift(key, till, at, said)
  local old = call('HGET', lifted, key)
  if old then till = later(old:sub(9, 17), till) end
  if not at then at, said = old:sub(1, 8), old:sub(18) end
  call('HSET', lifted, key, at .. till .. said)
  call('ZADD', lifted_index, score(till), key)
end

local function drop(key)
  call('HDEL', listed, key)
  call('HDEL', details, key)
  call('ZREM', listed_index, key)
end

local orders = {
  R = function(key, rest, said)
    local lift, at = call('HGET', lifted, key), rest:sub(11, 18)
    if lift then at = max(lift:sub(1, 8), at) end
    list(key, rest:sub(1, 1), rest:sub(2, 10), at, rest:sub(19), said)
    return 1
  end,
  B = function(key, rest)
    local lift, at = call('HGET', lifted, key), rest:sub(11, 18)
    if lift and less(at, lift:sub(1, 8)) then
      remember_lift(key, rest:sub(2, 10))
      return 0
    end
    list(key, rest:sub(1, 1), rest:sub(2, 10), at, rest:sub(19), '')
    return 1
  end,
  L = function(key, at, said)
    local old = call('HGET', listed, key)
    if not old then return 0 end
    local till = old:sub(2, 10)
    at = max(at, next_second(old:sub(11, 18)))
    drop(key)
    remember_lift(key, till, at, said)
    changes[#changes + 1] = 'L' .. key .. till .. at
    return 1
  end,
  D = function(key, rest)
    local at, till = rest:sub(1, 8), rest:sub(9, 17)
    local lift, old = call('HGET', lifted, key), call('HGET', listed, key)
    if lift and not less(lift:sub(1, 8), at) then
      remember_lift(key, till)
      return 0
    end
    if old and less(old:sub(11, 18), at) then
      till = later(old:sub(2, 10), till)
      drop(key)
      changes[#changes + 1] = 'L' .. key .. till .. at
    end
    remember_lift(key, till, at, '')
    return 1
  end,
}

for i = 3, #ARGV, 2 do
  local order = ARGV[i]
  answers[#answers + 1] = orders[order:sub(1, 1)](order:sub(2, 17), order:sub(18), ARGV[i + 1])
end
announce(ARGV[1], ARGV[2], changes)
return answers
