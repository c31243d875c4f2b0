import { PREFIX, PURGED_CHANNEL } from './keys.ts'
import type { Script } from './scripts.ts'

/**
 * Drops a station's answer and lease, and leaves a mark, so that no call that began before publishes its answer.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 answer, 2 lease, 3 purged | 1 the lifetime of the mark in ms, 2 the message for other replicas, or empty | 1 |
 */
export const PURGE: Script = {
  name: 'evproxyPurge',
  keys: 3,
  lua: `
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], '', 'PX', ARGV[1])
if ARGV[2] ~= '' then redis.pcall('PUBLISH', '${PREFIX}${PURGED_CHANNEL}', ARGV[2]) end
return 1
`,
}

/**
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | – | 1 the message for other replicas | 1 |
 */
export const PUBLISH_PURGED: Script = {
  name: 'evproxyPublishPurged',
  keys: 0,
  lua: `
redis.pcall('PUBLISH', '${PREFIX}${PURGED_CHANNEL}', ARGV[1])
return 1
`,
}
