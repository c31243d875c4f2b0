import type { Script } from './scripts.ts'
import { NOW } from './scripts.ts'

/** A call sent later than this from now was written while the server's clock was ahead. */
const MAX_AHEAD_MS = 1_000

/**
 * Tokens are planned; this is the last check, on what was really sent. The key is a hash: when each call was sent, by its
 * number, and `next`, the number of the next one. Calls that limit no other any more are dropped.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 the calls sent | 1 calls that may be sent in, 2, this time in ms | the number of the call, and the ms until one may be sent: at 0 this one counts as sent |
 */
export const PASS_SEND_GATE: Script = {
  name: 'evproxyPassSendGate',
  keys: 1,
  lua: `${NOW}
local key, count, reuse_ms = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
local number = tonumber(redis.call('HGET', key, 'next') or 0) or 0
local before = tonumber(redis.call('HGET', key, number - count) or 0) or 0
local wait_ms = before > now + ${MAX_AHEAD_MS} and 0 or math.max(0, math.ceil(before + reuse_ms - now))
if wait_ms > 0 then return {number, wait_ms} end
redis.call('HSET', key, number, string.format('%.0f', now), 'next', number + 1)
redis.call('HDEL', key, number - 2 * count)
redis.call('PEXPIRE', key, math.ceil(2 * reuse_ms) + 60000)
return {number, 0}
`,
}

/**
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 the calls sent | 1 the number of a call that has arrived at upstream now | 1 if it was sent |
 */
export const NOTE_ARRIVAL: Script = {
  name: 'evproxyNoteArrival',
  keys: 1,
  lua: `${NOW}
local sent = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or nil)
if sent == nil then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', math.max(sent, now)))
return 1
`,
}
