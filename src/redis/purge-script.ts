import { PREFIX, PURGED_CHANNEL } from './keys.ts'
import type { Script } from './scripts.ts'

/** A replica that was cut off for longer finds its entries expired. */
const LIST_MS = 7 * 86_400_000
/** Purges that are listed. A replica that has missed as many, or more, drops all its copies. */
export const MAX_LISTED = 2_048

/**
 * Drops a station's answer and lease, and leaves a mark, so that no call that began before publishes its answer.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 answer, 2 lease, 3 purged | 1 the lifetime of the mark in ms | 1 |
 */
export const PURGE: Script = {
  name: 'evproxyPurge',
  keys: 3,
  lua: `
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], '', 'PX', ARGV[1])
return 1
`,
}

/** `list_key`: a set of purged stations, of which '' is all, by time in µs; each later than the one before. */
const LIST = `
local list_key = KEYS[1]
if redis.call('TYPE', list_key).ok ~= 'zset' then redis.call('DEL', list_key) end
local function at(index) return redis.call('ZRANGE', list_key, index, index, 'WITHSCORES')[2] or '0' end
`

/**
 * Lists a purge, and publishes it as `time replica id`, or `time replica` for all stations.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 the list of purges | 1 the replica, 2 the station, or '' for all | 1 |
 */
export const ANNOUNCE_PURGE: Script = {
  name: 'evproxyAnnouncePurge',
  keys: 1,
  lua: `${LIST}
local time = redis.call('TIME')
local score = math.max(time[1] * 1000000 + time[2], tonumber(at(-1)) + 1)
local text = string.format('%.0f', score)
redis.call('ZADD', list_key, text, ARGV[2])
redis.call('ZREMRANGEBYRANK', list_key, 0, -${MAX_LISTED + 1})
redis.call('PEXPIRE', list_key, ${LIST_MS})
local message = text .. ' ' .. ARGV[1]
if ARGV[2] ~= '' then message = message .. ' ' .. ARGV[2] end
redis.pcall('PUBLISH', '${PREFIX}${PURGED_CHANNEL}', message)
return 1
`,
}

/**
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 the list of purges | 1 the time of the last one that is known | the time now; that of the latest; 1 if none after the known one is missing; the stations purged after it, each with its time |
 */
export const READ_PURGES: Script = {
  name: 'evproxyReadPurges',
  keys: 1,
  lua: `${LIST}
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local is_complete = redis.call('ZCARD', list_key) < ${MAX_LISTED} or tonumber(at(0)) <= tonumber(ARGV[1])
local stations = redis.call('ZRANGEBYSCORE', list_key, '(' .. ARGV[1], '+inf', 'WITHSCORES')
return {now, at(-1), is_complete and 1 or 0, unpack(stations)}
`,
}
