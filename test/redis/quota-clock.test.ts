import { Redis } from 'ioredis'
import type { Test } from 'tap'
import t from 'tap'
import type { Commands } from '../../src/redis/commands.ts'
import { QUOTA_UPDATE } from '../../src/redis/quota-script.ts'
import { RedisQuotaStore } from '../../src/redis/quota-store.ts'
import { NOW } from '../../src/redis/scripts.ts'
import { RECOVERY_MS } from '../../src/upstream/state/shared-quota.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import type { SettableStore } from '../upstream/state/clock-history.contract.ts'
import { clockHistoryContract } from '../upstream/state/clock-history.contract.ts'
import { keepAlive } from './replicas.ts'

/* The script of the quota on a server whose clock is set: the time is an argument behind its own. */

keepAlive(t)

const LUA = QUOTA_UPDATE.lua.replace(NOW, 'local now = tonumber(ARGV[22])')

async function connect(t: Test): Promise<Redis> {
  const client = new Redis((await RedisServer.start(t)).url)
  t.teardown(() => client.disconnect())
  return client
}

/** Stores on a server, emptied first, whose scripts take the time from the test. */
async function settableStore(client: Redis): Promise<SettableStore> {
  await client.flushall()
  let now = 0
  const script: Commands['script'] = (_script, keys, args) =>
    client.eval(LUA, keys.length, ...keys, ...args, now)
  const commands = { isUp: true, script } as unknown as Commands
  return { open: () => new RedisQuotaStore(commands), setClock: (wallMs) => void (now = wallMs) }
}

await t.test('what was spent is kept whatever the server clock has shown', { skip: NO_REDIS }, async (t) => {
  const client = await connect(t)
  t.not(LUA, QUOTA_UPDATE.lua)
  await clockHistoryContract(t, () => settableStore(client))
})

await t.test(
  'a hold that began while the server clock was ahead holds no call',
  { skip: NO_REDIS },
  async (t) => {
    const client = await connect(t)
    const { open, setClock } = await settableStore(client)
    const now = Date.parse('2026-11-29')
    setClock(now)
    const change = { kind: 'acquire', leave: null, client: null } as const
    const none = { calls: 0, reported: 0, period: null }
    const made = { charged: 0, refunded: 0, period: null }
    const store = open()
    const acquire = () =>
      store.apply({ limit: 1_000, per: 'month', change, lastSeen: null, unreported: none, made })
    const waits: unknown[] = []
    await acquire()
    for (const holdMs of [RECOVERY_MS, RECOVERY_MS + 1]) {
      await client.hset('evproxy:quota:1:{month}', 'hold', now + holdMs)
      waits.push((await acquire())?.waitMs)
    }
    t.strictSame(waits, [RECOVERY_MS, 0])
  },
)
