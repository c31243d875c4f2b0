import type { Script } from './scripts.ts'
import { NOW } from './scripts.ts'

/**
 * Drops a station's answer and lease, and marks when, so that no call that began before publishes its answer.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 answer, 2 lease, 3 purged | 1 the lifetime of the mark in ms | 1 |
 */
export const PURGE: Script = {
  name: 'evproxyPurge',
  keys: 3,
  lua: `${NOW}
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], string.format('%.0f', now), 'PX', ARGV[1])
return 1
`,
}
