import { PREFIX, PUBLISHED_CHANNEL } from './keys.ts'

/**
 * Operations that must be atomic, as Lua. Every script names its keys, as a cluster requires, and uses the clock of the
 * server, because the clocks of replicas differ.
 */
export interface Script {
  readonly name: string
  readonly keys: number
  readonly lua: string
}

const DAY_MS = 86_400_000
/** A token in use later than this from now was written while the server's clock was ahead. */
const MAX_QUEUE_MS = 120_000

/** `now`: whole milliseconds since the epoch. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** An answer is `received started jitter version json`: two times in ms, thousandths, a name, the rest. */
const HEADER = '^(%d+) (%d+) (%d+) (%S+) '

/**
 * Atomic: otherwise a replica could acquire the lease right after another published the answer.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 answer, 2 lease | 1 the version already known, 2 a new version, 3 the duration of the lease in ms | `answer`, an answer of another version, now; or `lease`, 1 if the value was no answer; or `taken`, the holder, its ms left |
 */
export const LEASE_GET: Script = {
  name: 'evproxyLeaseGet',
  keys: 2,
  lua: `${NOW}
local answer_key, lease_key = KEYS[1], KEYS[2]
local known_version, new_version, lease_ms = ARGV[1], ARGV[2], ARGV[3]

local value = redis.pcall('GET', answer_key)
local corrupt = 0
if value then
  local _, _, _, version = string.match(type(value) == 'string' and value or '', '${HEADER}')
  if version == nil then corrupt = 1
  elseif version ~= known_version then return {'answer', value, now} end
end
if redis.call('SET', lease_key, new_version, 'NX', 'PX', lease_ms) then return {'lease', corrupt} end
return {'taken', redis.call('GET', lease_key), redis.call('PTTL', lease_key)}
`,
}

/**
 * Ends the lease of the same version, and keeps the answer unless that of a later call is there.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 answer, 2 lease | 1 version, 2 ms since the answer, 3 ms since its call began, 4 jitter, 5 json, 6 its lifetime in ms, 7 the station's id | 1 if it was kept |
 */
export const PUBLISH: Script = {
  name: 'evproxyPublish',
  keys: 2,
  lua: `${NOW}
local answer_key, lease_key = KEYS[1], KEYS[2]
local version, age_ms, started_ago_ms, jitter = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local json, life_ms = ARGV[5], ARGV[6]

if redis.call('GET', lease_key) == version then redis.call('DEL', lease_key) end
local present = redis.pcall('GETRANGE', answer_key, 0, 99)
local _, other_started = string.match(type(present) == 'string' and present or '', '${HEADER}')
local started = now - started_ago_ms
if other_started and tonumber(other_started) > started and tonumber(other_started) <= now then return 0 end
local header = string.format('%.0f %.0f %s %s ', now - age_ms, started, jitter, version)
redis.call('SET', answer_key, header .. json, 'PX', life_ms)
redis.pcall('PUBLISH', '${PREFIX}${PUBLISHED_CHANNEL}', version .. ' ' .. ARGV[7])
return 1
`,
}

/**
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 lease | 1 version, 2 the duration of the lease in ms | 1 if the lease is held by this version |
 */
export const RENEW: Script = {
  name: 'evproxyRenew',
  keys: 1,
  lua: `
local lease_key, version, lease_ms = KEYS[1], ARGV[1], ARGV[2]

if redis.call('GET', lease_key) ~= version then return 0 end
return redis.call('PEXPIRE', lease_key, lease_ms)
`,
}

/**
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 lease | 1 version, 2 a value to leave instead of the lease, 3 for how many ms; 0 leaves nothing | 1 if the lease was held by this version |
 */
export const RELEASE: Script = {
  name: 'evproxyRelease',
  keys: 1,
  lua: `
local lease_key = KEYS[1]
local version, value, value_ms = ARGV[1], ARGV[2], ARGV[3]

if redis.call('GET', lease_key) ~= version then return 0 end
if value_ms == '0' then return redis.call('DEL', lease_key) end
redis.call('SET', lease_key, value, 'PX', value_ms)
return 1
`,
}

/**
 * The rules of LocalTokenBucket: the contract tests run on both.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 when tokens are used | 1 tokens in the bucket, 2 ms from the use of a token to the next, 3 tokens left to others, 4 the longest wait in ms | the wait in ms, as text; a token is taken unless that is longer |
 */
export const TAKE_TOKEN: Script = {
  name: 'evproxyTakeToken',
  keys: 1,
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local tokens_key = KEYS[1]
local count, reuse_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local leave, max_wait_ms = tonumber(ARGV[3]), tonumber(ARGV[4])

local last = tonumber(redis.call('LINDEX', tokens_key, -1) or 0)
if last > now + ${MAX_QUEUE_MS} then redis.call('DEL', tokens_key) end
local index = leave + redis.call('LLEN', tokens_key) - count
local wait_ms = 0
if index >= 0 then wait_ms = math.max(0, redis.call('LINDEX', tokens_key, index) + reuse_ms - now) end
if wait_ms <= max_wait_ms then
  redis.call('RPUSH', tokens_key, string.format('%.3f', now + wait_ms))
  redis.call('LTRIM', tokens_key, -count, -1)
  redis.call('PEXPIRE', tokens_key, math.ceil(wait_ms + reuse_ms))
end
return string.format('%.3f', wait_ms)
`,
}

/**
 * The rules of LocalQuota: the contract tests run on both. If the usage was lost, it continues from what the replica
 * last saw, and `remembered` is set: that includes what other replicas have reported before.
 *
 * | KEYS | |
 * | --- | --- |
 * | 1 | usage: `ends`, `spent`, `released`, `at` (released up to then), `remembered`, `alone:<replica>` (unreported calls that are counted) |
 *
 * | ARGV | |
 * | --- | --- |
 * | 1, 2 | the limit; calls released at the start of a period |
 * | 3 | the change: `none`, `acquire` or `refund` |
 * | 4 | acquire: the share of the remaining calls that is left to others, or '' if calls are not rationed |
 * | 5 | refund: when the period of the call ends |
 * | 6 | the replica |
 * | 7, 8, 9 | its unreported calls, how many of them were in an earlier update, and when their period ends |
 * | 10, 11 | the calls that it last saw as spent, and when their period ends |
 * | 12 … | when periods end, ascending |
 *
 * The reply: the wait in ms (0 unless a call could not be acquired), spent, released, when the period ends.
 */
export const QUOTA_UPDATE: Script = {
  name: 'evproxyQuotaUpdate',
  keys: 1,
  lua: `${NOW}
local usage_key = KEYS[1]
local limit, initial = tonumber(ARGV[1]), tonumber(ARGV[2])
local change, leave, refund_period = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local alone_field = 'alone:' .. ARGV[6]
local unreported, reported, unreported_period = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local seen_spent, seen_period = tonumber(ARGV[10]), tonumber(ARGV[11])
local first_period = 12

local function field(name) return tonumber(redis.call('HGET', usage_key, name) or 0) end
local function text(number) return string.format('%.6f', number) end
local ends, spent, released, at = field('ends'), field('spent'), field('released'), field('at')

if now >= ends then
  redis.call('DEL', usage_key)
  for i = #ARGV, first_period, -1 do
    if tonumber(ARGV[i]) > now then ends = tonumber(ARGV[i]) end
  end
  spent, released, at = 0, initial, now
  if seen_period == ends then
    spent = seen_spent
    released = math.min(released, limit - spent)
    redis.call('HSET', usage_key, 'remembered', 1)
    if unreported_period == seen_period then redis.call('HSET', usage_key, alone_field, unreported) end
  end
end

if now > at then
  released = released + (limit - spent - released) * (now - at) / (ends - at)
  at = now
end

if unreported_period == ends then
  local counted = redis.call('HGET', usage_key, alone_field)
  if not counted then counted = redis.call('HGET', usage_key, 'remembered') and reported or 0 end
  spent = spent + unreported - counted
  released = math.max(0, released - unreported + counted)
  redis.call('HSET', usage_key, alone_field, unreported)
end

local wait_ms = 0
local remaining = limit - spent
if change == 'refund' and refund_period == ends then
  spent, released = spent - 1, released + 1
elseif change == 'acquire' then
  local needed = 0
  if leave then needed = math.min(remaining, 1 + remaining * leave) end
  if remaining < 1 then
    wait_ms = ends - now
  elseif released < needed then
    wait_ms = math.ceil((needed - released) / (remaining - released) * (ends - now))
  else
    spent, released = spent + 1, math.max(0, released - 1)
  end
end

redis.call('HSET', usage_key, 'ends', text(ends), 'spent', text(spent), 'released', text(released), 'at', text(at))
redis.call('PEXPIREAT', usage_key, string.format('%.0f', ends + ${DAY_MS}))
return {wait_ms, spent, text(released), ends}
`,
}

export const SCRIPTS: readonly Script[] = [LEASE_GET, PUBLISH, RENEW, RELEASE, TAKE_TOKEN, QUOTA_UPDATE]
