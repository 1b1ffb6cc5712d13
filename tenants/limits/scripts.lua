-- The shared counting of one family's calls; one of its functions runs per call of the script, by ARGV[1].
-- KEYS: 1 requests, 2 tokens (each the theoretical arrival time of GCRA, in microseconds),
--       3 leases (call → end of its lease), 4 charges (call → tokens it was charged).
-- Instants are microseconds since a recent one, so that a double keeps fractions of them; they go out
-- through string.format because Lua's own rendering keeps 14 digits only.
local EPOCH = 1760000000
local MINUTE = 60000000
local time = redis.call('TIME')
local now = (time[1] - EPOCH) * 1000000 + time[2]

local function ahead_of(key)
  local at = tonumber(redis.call('GET', key) or now)
  return math.max(0, at - now)
end

-- A wait below a millionth of one request or token is rounding, not a wait.
local function wait_for(ahead, unit, amount, limit)
  local wait = ahead + unit * (amount - limit)
  return wait <= unit * 1e-6 + 0.02 and 0 or wait
end

local function store(key, ahead)
  if ahead <= 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.6f', now + ahead), 'PX', math.ceil(ahead / 1000) + 1000)
  end
end

local function lease(call, microseconds)
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + microseconds), call)
  local milliseconds = math.ceil(microseconds / 1000) + 1000
  redis.call('PEXPIRE', KEYS[3], milliseconds)
  redis.call('PEXPIRE', KEYS[4], milliseconds)
end

local function drop_ended_leases()
  for _, call in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now))) do
    redis.call('ZREM', KEYS[3], call)
    redis.call('HDEL', KEYS[4], call)
  end
end

-- ARGV: 2 call, 3 tokens, 4 requests per minute, 5 tokens per minute, 6 concurrent calls, 7 lease
local function take()
  local call, tokens = ARGV[2], tonumber(ARGV[3])
  local requests_limit, tokens_limit = tonumber(ARGV[4]), tonumber(ARGV[5])
  drop_ended_leases()
  local requests_ahead, tokens_ahead = ahead_of(KEYS[1]), ahead_of(KEYS[2])
  local request_cost, token_cost = MINUTE / requests_limit, MINUTE / tokens_limit
  local requests_wait = wait_for(requests_ahead, request_cost, 1, requests_limit)
  local tokens_wait = wait_for(tokens_ahead, token_cost, tokens, tokens_limit)
  local running = redis.call('ZCARD', KEYS[3])
  local admitted = 0 -- 1: admitted now, 2: had been admitted before
  if redis.call('ZSCORE', KEYS[3], call) then
    admitted = 2
  elseif tokens <= tokens_limit and requests_wait == 0 and tokens_wait == 0 and running < tonumber(ARGV[6]) then
    admitted, running = 1, running + 1
    requests_ahead, tokens_ahead = requests_ahead + request_cost, tokens_ahead + token_cost * tokens
    redis.call('HSET', KEYS[4], call, string.format('%.0f', tokens))
    store(KEYS[1], requests_ahead)
    store(KEYS[2], tokens_ahead)
    lease(call, tonumber(ARGV[7]))
  end
  -- One string: a client reads it in one piece, and a table's seven parts one by one.
  return string.format(
    '%d %d %.0f %.6f %.6f %.6f %.6f', admitted, running, now + EPOCH * 1000000,
    requests_ahead, tokens_ahead, requests_wait, tokens_wait
  )
end

-- ARGV: 2 call, 3 tokens to give back, 4 requests per minute, 5 tokens per minute, 6 requests to give back
-- Only what this state charged is given back: after a flush a call may be known by its renewed lease alone.
local function finish()
  local call = ARGV[2]
  local charged = redis.call('HGET', KEYS[4], call)
  redis.call('ZREM', KEYS[3], call)
  redis.call('HDEL', KEYS[4], call)
  if not charged then
    return 0
  end
  local back = math.min(tonumber(ARGV[3]), tonumber(charged))
  if back > 0 then
    store(KEYS[2], ahead_of(KEYS[2]) - MINUTE / tonumber(ARGV[5]) * back)
  end
  if ARGV[6] ~= '0' then
    store(KEYS[1], ahead_of(KEYS[1]) - MINUTE / tonumber(ARGV[4]))
  end
  return back
end

-- ARGV: 2 lease, 3… calls
local function renew()
  for index = 3, #ARGV do
    lease(ARGV[index], tonumber(ARGV[2]))
  end
  return #ARGV - 2
end

return ({take = take, finish = finish, renew = renew})[ARGV[1]]()
