/**
 * What must happen in one step, as Lua. Every script names its keys, so that all of it works in a cluster, and tells
 * the time by the server's own clock: replicas' clocks differ.
 */
export interface Script {
  readonly name: string
  readonly keys: number
  readonly lua: string
}

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
export const LOOK: Script = {
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

export const SCRIPTS: readonly Script[] = [LOOK, PUBLISH, RENEW, RELEASE]
