import type { Script } from './scripts.ts'

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
