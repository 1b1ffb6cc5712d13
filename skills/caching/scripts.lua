-- The shared side of the response cache; one of its functions runs per call of the script, by ARGV[1].
-- KEYS: 1 the answer, 2 the lead (who makes the call now), 3 whether others wait for it, 4 the tenant's index
--       (answer → end of its time). All of a tenant's names lie in one hash slot.
-- A lead that was purged keeps its key, so that an answer that was under way is not kept.
local PURGED = 'purged'

local function lead_is(owner)
  return redis.call('GET', KEYS[2]) == owner
end

local function wake(channel, message)
  if redis.call('DEL', KEYS[3]) == 1 then
    redis.call('PUBLISH', channel, message)
  end
end

-- ARGV: 2 owner, 3 lease in milliseconds
local function seek()
  local answer = redis.call('GET', KEYS[1])
  if answer then
    return {'found', redis.call('PTTL', KEYS[1]), answer}
  end
  local holder = redis.call('GET', KEYS[2])
  if not holder or holder == PURGED or holder == ARGV[2] then
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    return {'leads'}
  end
  redis.call('SET', KEYS[3], 1, 'PX', ARGV[3])
  return {'waits'}
end

-- ARGV: 2 owner, 3 lease: becomes the one whose answer will be kept, whoever was before
local function take()
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  return {'leads'}
end

-- ARGV: 2 owner, 3 lease
local function renew()
  if lead_is(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
  else
    redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
  end
  return {'renewed'}
end

-- ARGV: 2 owner, 3 time to live in milliseconds, 4 entry, 5 member of the index, 6 most members, 7 prefix of names,
--       8 channel, 9 message
local function keep()
  local holder = redis.call('GET', KEYS[2])
  if holder and holder ~= ARGV[2] then
    return {'superseded'}
  end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
  redis.call('ZADD', KEYS[4], now + tonumber(ARGV[3]), ARGV[5])
  local over = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[6])
  if over > 0 then
    local first = redis.call('ZPOPMIN', KEYS[4], over)
    for index = 1, #first, 2 do
      redis.call('DEL', ARGV[7] .. first[index] .. ':answer')
    end
  end
  local last = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', KEYS[4], string.format('%.0f', last[2]))
  redis.call('DEL', KEYS[2])
  wake(ARGV[8], ARGV[9])
  return {'kept'}
end

-- ARGV: 2 owner, 3 channel, 4 message
local function leave()
  if lead_is(ARGV[2]) then
    redis.call('DEL', KEYS[2])
    wake(ARGV[3], ARGV[4])
  end
  return {'left'}
end

return ({seek = seek, take = take, renew = renew, keep = keep, leave = leave})[ARGV[1]]()
