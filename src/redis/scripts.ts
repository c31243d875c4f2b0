/**
 * What must happen in one step, as Lua. Every script names its keys, so that all of it works in a cluster, and tells
 * the time by the server's own clock: replicas' clocks differ.
 */
export interface Script {
  readonly name: string
  readonly keys: number
  readonly lua: string
}

const DAY_MS = 86_400_000
/** No token is promised for later than this: what is, was written when the server's clock was ahead. */
const LONGEST_QUEUE_MS = 120_000

/** `now` in whole milliseconds since the epoch. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** An answer is `received started jitter token json`: two moments in ms, thousandths, a name, the rest. */
const HEADER = '^(%d+) (%d+) (%d+) (%S+) '

/**
 * KEYS: answer, lease. ARGV: the token known, a new token, the lease in ms. Gives an answer of another token with the
 * present moment; or the lease, and whether what was there was no answer; or who has the lease, and for how long.
 */
export const LEASE_GET: Script = {
  name: 'evproxyLook',
  keys: 2,
  lua: `${NOW}
local value = redis.pcall('GET', KEYS[1])
local corrupt = 0
if value then
  local _, _, _, token = string.match(type(value) == 'string' and value or '', '${HEADER}')
  if token == nil then corrupt = 1
  elseif token ~= ARGV[1] then return {'answer', value, now} end
end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then return {'lease', corrupt} end
return {'taken', redis.call('GET', KEYS[2]), redis.call('PTTL', KEYS[2])}
`,
}

/** KEYS: answer, lease. ARGV: token, ms since the answer, ms since its call began, jitter, json, its life in ms. */
export const PUBLISH: Script = {
  name: 'evproxyPublish',
  keys: 2,
  lua: `${NOW}
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
local present = redis.pcall('GETRANGE', KEYS[1], 0, 99)
local _, later = string.match(type(present) == 'string' and present or '', '${HEADER}')
local started = now - ARGV[3]
if later and tonumber(later) > started and tonumber(later) <= now then return 0 end
local header = string.format('%.0f %.0f %s %s ', now - ARGV[2], started, ARGV[4], ARGV[1])
redis.call('SET', KEYS[1], header .. ARGV[5], 'PX', ARGV[6])
return 1
`,
}

/** KEYS: lease. ARGV: token, the lease in ms. */
export const RENEW: Script = {
  name: 'evproxyRenew',
  keys: 1,
  lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`,
}

/** KEYS: lease. ARGV: token, what is left in its place for so many ms; 0 leaves nothing. */
export const RELEASE: Script = {
  name: 'evproxyRelease',
  keys: 1,
  lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`,
}

/**
 * KEYS: when tokens are used, the oldest first. ARGV: how many tokens there are, for how many ms each is away, how many
 * are left to others, the longest wait in ms. Gives the wait as text; a token is taken unless that is longer.
 */
export const TAKE_TOKEN: Script = {
  name: 'evproxyTakeToken',
  keys: 1,
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local count, away, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local last = tonumber(redis.call('LINDEX', KEYS[1], -1) or 0)
if last > now + ${LONGEST_QUEUE_MS} then redis.call('DEL', KEYS[1]) end
local index = ARGV[3] + redis.call('LLEN', KEYS[1]) - count
local wait = 0
if index >= 0 then wait = math.max(0, redis.call('LINDEX', KEYS[1], index) + away - now) end
if wait <= longest then
  redis.call('RPUSH', KEYS[1], string.format('%.3f', now + wait))
  redis.call('LTRIM', KEYS[1], -count, -1)
  redis.call('PEXPIRE', KEYS[1], math.ceil(wait + away))
end
return string.format('%.3f', wait)
`,
}

/**
 * KEYS: the account. ARGV: limit; calls released at the start of a period; what to do: 'none', 'take' or 'give'; the
 * part of what remains that a rationed call leaves, or '' for one that is not; the period to give back to; the
 * replica; what it spent alone, and in which period; what it knows to be spent, and in which period, should the account
 * have been lost; how much of what it spent alone it has told before; when periods end. Gives the wait in ms (0 unless a
 * call could not be taken), what is spent, what is released, and when the period ends.
 *
 * The same rules as Budget's, which says what they are for.
 */
export const QUOTA_UPDATE: Script = {
  name: 'evproxySettle',
  keys: 1,
  lua: `${NOW}
local limit = tonumber(ARGV[1])
local function field(name) return tonumber(redis.call('HGET', KEYS[1], name) or 0) end
local ends, spent, released, at = field('ends'), field('spent'), field('released'), field('at')
if now >= ends then
  redis.call('DEL', KEYS[1])
  for i = #ARGV, 12, -1 do
    if tonumber(ARGV[i]) > now then ends = tonumber(ARGV[i]) end
  end
  spent, released, at = 0, tonumber(ARGV[2]), now
  if tonumber(ARGV[10]) == ends then
    spent = tonumber(ARGV[9])
    released = math.min(released, limit - spent)
    redis.call('HSET', KEYS[1], 'remembered', 1)
    if ARGV[8] == ARGV[10] then redis.call('HSET', KEYS[1], 'alone:' .. ARGV[6], ARGV[7]) end
  end
end
if now > at then
  released = released + (limit - spent - released) * (now - at) / (ends - at)
  at = now
end
if tonumber(ARGV[8]) == ends then
  local told = redis.call('HGET', KEYS[1], 'alone:' .. ARGV[6])
  if not told then told = redis.call('HGET', KEYS[1], 'remembered') and ARGV[11] or 0 end
  spent = spent + ARGV[7] - told
  released = math.max(0, released - ARGV[7] + told)
  redis.call('HSET', KEYS[1], 'alone:' .. ARGV[6], ARGV[7])
end
local wait = 0
local remaining = limit - spent
if ARGV[3] == 'give' and tonumber(ARGV[5]) == ends then
  spent, released = spent - 1, released + 1
elseif ARGV[3] == 'take' then
  local needed = 0
  if ARGV[4] ~= '' then needed = math.min(remaining, 1 + remaining * ARGV[4]) end
  if remaining < 1 then
    wait = ends - now
  elseif released < needed then
    wait = math.ceil((needed - released) / (remaining - released) * (ends - now))
  else
    spent, released = spent + 1, math.max(0, released - 1)
  end
end
local function text(number) return string.format('%.6f', number) end
redis.call('HSET', KEYS[1], 'ends', text(ends), 'spent', text(spent), 'released', text(released), 'at', text(at))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', ends + ${DAY_MS}))
return {wait, spent, text(released), ends}
`,
}

export const SCRIPTS: readonly Script[] = [LEASE_GET, PUBLISH, RENEW, RELEASE, TAKE_TOKEN, QUOTA_UPDATE]
