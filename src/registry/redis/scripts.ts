/**
 * What is done inside Redis, as Lua: each script sees one service's keys and is atomic there. Called through
 * redis-client.ts only. What must stay true: every change of a service's content gives it a new version and tells it on
 * the service's channel as `before after kind text`, so that a reader that knows version `before` can follow without
 * reading; versions are times, so that they never repeat, not even after a flush or a failover.
 */

/** Longest time between two contacts of anybody with a service that still counts as normal, in milliseconds. */
export const CONTACT_GAP_MS = 7_000;
/** Keys of a service that nobody touches any more vanish after this. */
const FORGET_MS = 3_600_000;
/** How long it is remembered that an instance left by itself. */
const LEFT_MS = 600_000;
/** Ends told one by one; more at a time are told as "read again". */
const TOLD_ONE_BY_ONE = 16;

const prelude = `
local instances, leases, meta, left, offline = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local channel = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function change(kind, text)
  local before = redis.call('HGET', meta, 'v') or '0'
  local after = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(before) + 1))
  redis.call('HSET', meta, 'v', after)
  redis.call('PEXPIRE', meta, ${FORGET_MS})
  redis.call('PUBLISH', channel, before .. ' ' .. after .. ' ' .. kind .. ' ' .. text)
end
local function epochOf(id)
  local found = redis.call('HGET', instances, id)
  return found and tonumber(string.match(found, '^(%d+) ')) or nil, found
end
-- Leases that ended. Where nobody could reach this Redis for a while, owners get time to renew first. A service without
-- instances gets no key, nor do those that it had live on, however often somebody asks.
local function contact()
  if redis.call('EXISTS', instances) == 0 then
    -- Writes nothing, but fails where a write would: what a replica does not have says nothing.
    redis.call('SETRANGE', instances, 0, '')
    return
  end
  local last = tonumber(redis.call('HGET', meta, 't') or now)
  if now - last > ${CONTACT_GAP_MS} then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now + ${CONTACT_GAP_MS})) do
      redis.call('ZADD', leases, now + ${CONTACT_GAP_MS}, id)
    end
  end
  if now - last >= 500 or now == last then
    redis.call('HSET', meta, 't', string.format('%.0f', now))
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ${FORGET_MS}) end
  end
  local ended = redis.call('ZRANGEBYSCORE', leases, '-inf', now)
  for _, id in ipairs(ended) do
    redis.call('HDEL', instances, id)
    redis.call('ZREM', leases, id)
    redis.call('ZREM', offline, id)
    if #ended <= ${TOLD_ONE_BY_ONE} then change('x', id) end
  end
  if #ended > ${TOLD_ONE_BY_ONE} then change('*', '') end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', offline, '-inf', now)) do
    redis.call('ZREM', offline, id)
    change('u', id)
  end
end
`;

/**
 * The scripts by name. The first five KEYS are those of {@link ServiceKeys}; ARGV begins with the channel.
 * Each returns 1 for done unless it says otherwise.
 */
export const scripts = {
  /** id, epoch, JSON, leaseMs. Returns 0 where a newer registration of the same id stands. */
  ringsideRegister: `${prelude}
    contact()
    local id, epoch, json = ARGV[2], tonumber(ARGV[3]), ARGV[4]
    local known, found = epochOf(id)
    if known and known > epoch then return 0 end
    local value = ARGV[3] .. ' ' .. json
    redis.call('HSET', instances, id, value)
    redis.call('ZADD', leases, now + tonumber(ARGV[5]), id)
    redis.call('ZREM', left, id)
    redis.call('HSET', meta, 't', string.format('%.0f', now))
    for _, key in ipairs({instances, leases, meta}) do redis.call('PEXPIRE', key, ${FORGET_MS}) end
    if found ~= value then change('+', json) end
    return 1`,

  /** id, epoch, leaseMs. Returns 0 where the instance is missing, 2 where a newer registration of the same id stands. */
  ringsideRenew: `${prelude}
    contact()
    local id, epoch = ARGV[2], tonumber(ARGV[3])
    local known = epochOf(id)
    if known and known > epoch then return 2 end
    if known ~= epoch or not redis.call('ZSCORE', leases, id) then return 0 end
    redis.call('ZADD', leases, now + tonumber(ARGV[4]), id)
    return 1`,

  /** id, epoch. */
  ringsideDeregister: `${prelude}
    local id = ARGV[2]
    local known = epochOf(id)
    if known and known > tonumber(ARGV[3]) then return 0 end
    redis.call('ZADD', left, now, id)
    redis.call('ZREMRANGEBYSCORE', left, '-inf', now - ${LEFT_MS})
    redis.call('ZREMRANGEBYRANK', left, 0, -1025)
    redis.call('PEXPIRE', left, ${FORGET_MS})
    if known then
      redis.call('HDEL', instances, id)
      redis.call('ZREM', leases, id)
      redis.call('ZREM', offline, id)
      change('-', id)
    end
    return 1`,

  /** Known version, most instances wanted. Returns [version], or [version, instances, left, offline] if it differs. */
  ringsideRead: `${prelude}
    contact()
    local version = redis.call('HGET', meta, 'v') or '0'
    if version == ARGV[2] then return {version} end
    local count = redis.call('HLEN', instances)
    if count > tonumber(ARGV[3]) then
      return redis.error_reply('ERR the service has ' .. count .. ' instances, more than limits.instances')
    end
    return {version, redis.call('HVALS', instances), redis.call('ZRANGE', left, 0, -1),
      redis.call('ZRANGE', offline, 0, -1)}`,

  /** Term, ms, ids...: takes instances out for so long. Returns -1 where a watcher of a later term has spoken. */
  ringsideTakeOut: `${prelude}
    local term = tonumber(ARGV[2])
    if tonumber(redis.call('HGET', meta, 'w') or '0') > term then return -1 end
    redis.call('HSET', meta, 'w', ARGV[2])
    redis.call('PEXPIRE', meta, ${FORGET_MS})
    for i = 4, #ARGV do
      if redis.call('ZSCORE', leases, ARGV[i]) then
        local added = redis.call('ZADD', offline, now + tonumber(ARGV[3]), ARGV[i])
        if added == 1 then change('d', ARGV[i]) end
      end
    end
    return 1`,

  /** Term, 0, ids...: puts instances back. Returns -1 where a watcher of a later term has spoken. */
  ringsidePutBack: `${prelude}
    local term = tonumber(ARGV[2])
    if tonumber(redis.call('HGET', meta, 'w') or '0') > term then return -1 end
    redis.call('HSET', meta, 'w', ARGV[2])
    redis.call('PEXPIRE', meta, ${FORGET_MS})
    for i = 4, #ARGV do
      if redis.call('ZREM', offline, ARGV[i]) == 1 then change('u', ARGV[i]) end
    end
    return 1`,
} as const;

const nowMs = `local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

/** Notes that a service has instances, by Redis' clock: those of agents and watchers may be set. KEYS: the set of services. ARGV: the service. */
export const noteScript = `${nowMs}
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
  return 1`;

/** The services that were noted within ARGV[1] milliseconds; others are forgotten. KEYS: the set of services. */
export const servicesScript = `${nowMs}
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - tonumber(ARGV[1])))
  return redis.call('ZRANGE', KEYS[1], 0, -1)`;

/**
 * Elects a watcher. KEYS: the watcher's key. ARGV: name of who asks, lease in milliseconds, 1 to give the lease back.
 * Returns [term or 0, who holds it]: a term above 0 is the asker's own, and each election has a higher one.
 */
export const electScript = `
  local held = redis.call('GET', KEYS[1])
  local term, name = nil, nil
  if held then term, name = string.match(held, '^(%d+) (.*)$') end
  if ARGV[3] == '1' then
    if name == ARGV[1] then redis.call('DEL', KEYS[1]) end
    return {'0', ''}
  end
  if name == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {term, name}
  end
  if held then return {'0', name or ''} end
  local time = redis.call('TIME')
  term = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('SET', KEYS[1], term .. ' ' .. ARGV[1], 'PX', ARGV[2])
  return {term, ARGV[1]}`;
