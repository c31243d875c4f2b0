import { Redis } from 'ioredis'
import type { Test } from 'tap'
import t from 'tap'
import { QUOTA_UPDATE } from '../../src/redis/quota-script.ts'
import { NOW } from '../../src/redis/scripts.ts'
import { RECOVERY_MS } from '../../src/upstream/state/shared-quota.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { clockHistoryContract } from '../upstream/state/clock-history.contract.ts'
import { keepAlive } from './replicas.ts'

/* The script of the quota on a server whose clock is set: the time is an argument behind its own. */

keepAlive(t)

const USAGE = '{quota}'
const LUA = QUOTA_UPDATE.lua.replace(NOW, 'local now = tonumber(ARGV[22])')

async function connect(t: Test): Promise<Redis> {
  const client = new Redis((await RedisServer.start(t)).url)
  t.teardown(() => client.disconnect())
  return client
}

/** The reply to one call of a quota of 1,000 a month at this time. */
async function acquire(client: Redis, now: number, number: number): Promise<readonly unknown[]> {
  const change = ['month', 1_000, 'acquire', '', '', '', 0]
  const unreported = ['replica', 0, 0, '', '', '', 0, 0]
  const made = [number, number - 1, 0, 0, '', '']
  const args = [...change, ...unreported, ...made, now]
  return (await client.eval(LUA, 2, USAGE, `${USAGE}:clients`, ...args)) as readonly unknown[]
}

await t.test('what was spent is kept whatever the server clock has shown', { skip: NO_REDIS }, async (t) => {
  const client = await connect(t)
  t.not(LUA, QUOTA_UPDATE.lua)
  await clockHistoryContract(t, async (dates) => {
    await client.flushall()
    let spent = Number.NaN
    for (const [i, date] of dates.entries())
      spent = Number((await acquire(client, Date.parse(date), i + 1))[2])
    return spent
  })
})

await t.test(
  'a hold that began while the server clock was ahead holds no call',
  { skip: NO_REDIS },
  async (t) => {
    const client = await connect(t)
    const now = Date.parse('2026-11-29')
    const waits: number[] = []
    await acquire(client, now, 1)
    for (const [i, holdMs] of [RECOVERY_MS, RECOVERY_MS + 1].entries()) {
      await client.hset(USAGE, 'hold', now + holdMs)
      waits.push(Number((await acquire(client, now, i + 2))[0]))
    }
    t.strictSame(waits, [RECOVERY_MS, 0])
  },
)
