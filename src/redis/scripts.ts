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

/** The longest life of an error that replaces a lease. */
const DAY_MS = 86_400_000
/** A token in use later than this from now was written while the server's clock was ahead. */
const MAX_QUEUE_MS = 61_000

/** `now`: whole milliseconds since the epoch. */
export const NOW = `
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
 * | 1 answer, 2 lease, 3 station | 1 the version already known, 2 a new version, or nothing for no lease, 3 the duration of the lease in ms | `answer`, an answer of another version, now, what is known of the station if anything is; or `lease`, 1 if the value was no answer; or `taken`, the holder, its ms left; or `none` |
 */
export const LEASE_GET: Script = {
  name: 'evproxyLeaseGet',
  keys: 3,
  lua: `${NOW}
local answer_key, lease_key = KEYS[1], KEYS[2]
local known_version, new_version, lease_ms = ARGV[1], ARGV[2], ARGV[3]

local value = redis.pcall('GET', answer_key)
local corrupt = 0
if value then
  local _, _, _, version = string.match(type(value) == 'string' and value or '', '${HEADER}')
  if version == nil then corrupt = 1
  elseif version ~= known_version then return {'answer', value, now, redis.pcall('GET', KEYS[3])} end
end
local wants_lease = new_version ~= ''
if wants_lease and redis.call('SET', lease_key, new_version, 'NX', 'PX', lease_ms) then return {'lease', corrupt} end
local holder, left_ms = redis.pcall('GET', lease_key), redis.call('PTTL', lease_key)
local is_error = type(holder) == 'string' and string.sub(holder, 1, 1) == '!'
local longest_ms = is_error and ${DAY_MS} or tonumber(lease_ms)
if type(holder) ~= 'string' or left_ms < 0 or left_ms > longest_ms then
  if not wants_lease then return {'none'} end
  redis.call('SET', lease_key, new_version, 'PX', lease_ms)
  return {'lease', corrupt}
end
return {'taken', holder, left_ms}
`,
}

/**
 * Ends the lease of the same version, and keeps the answer unless that of a later call is there. Of a station that was
 * purged, only a call with the lease keeps its answer: a purge ends the lease of every call that began before.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 answer, 2 lease, 3 purged | 1 version, 2 ms since the answer, 3 ms since its call began, 4 jitter, 5 json, 6 its lifetime in ms, 7 the station's id | 1 if it was kept |
 */
export const PUBLISH: Script = {
  name: 'evproxyPublish',
  keys: 3,
  lua: `${NOW}
local answer_key, lease_key = KEYS[1], KEYS[2]
local version, age_ms, started_ago_ms, jitter = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local json, life_ms = ARGV[5], ARGV[6]

local has_lease = redis.call('GET', lease_key) == version
if has_lease then redis.call('DEL', lease_key) end
if not has_lease and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
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
 * The rules of LocalTokenBucket: the contract tests run on all.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 when tokens are used | 1 tokens in the bucket, 2 ms from the use of a token to the next, 3 tokens left to others, 4 the longest wait in ms, 5 whether the replica has seen the tokens: then they were lost if there are none | the wait in ms, as text; a token is taken unless that is longer |
 */
export const TAKE_TOKEN: Script = {
  name: 'evproxyTakeToken',
  keys: 1,
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local tokens_key = KEYS[1]
local count, reuse_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local leave, max_wait_ms, known = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local function used(index)
  local at = tonumber(redis.call('LINDEX', tokens_key, index) or 0)
  if at and at >= 0 and at <= now + ${MAX_QUEUE_MS} then return at end
end
local type = redis.call('TYPE', tokens_key).ok
local is_lost = type ~= 'list' and known == '1'
if type ~= 'list' or not used(-1) then redis.call('DEL', tokens_key) end
if is_lost then
  for i = 1, count do redis.call('RPUSH', tokens_key, string.format('%.3f', now)) end
end
local index = leave + redis.call('LLEN', tokens_key) - count
local wait_ms = 0
if index >= 0 then wait_ms = math.max(0, (used(index) or 0) + reuse_ms - now) end
if wait_ms <= max_wait_ms then
  redis.call('RPUSH', tokens_key, string.format('%.3f', now + wait_ms))
  redis.call('LTRIM', tokens_key, -count, -1)
end
return string.format('%.3f', wait_ms)
`,
}
