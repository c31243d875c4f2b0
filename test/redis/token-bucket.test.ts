import t from 'tap'
import type { SharedStores } from '../../src/stores.ts'
import { NO_REDIS } from '../support/redis.ts'
import { keepAlive, threeReplicas } from './replicas.ts'

/* The rules of a token bucket are tested in stores.test.ts. */

keepAlive(t)

const BUCKET = { count: 5, tokenReuseMs: 1_020, reserved: 1 }

await t.test(
  'replicas that take tokens all the time stay within one limit',
  { skip: NO_REDIS },
  async (t) => {
    const { replicas } = await threeReplicas(t)
    const startedAt = performance.now()
    let taken = 0
    const takeAll = async ({ tokens }: SharedStores) => {
      while (performance.now() - startedAt < 2_500) {
        if ((await tokens.take(BUCKET, 0, 0))?.waitMs === 0) taken++
      }
    }
    await Promise.all(replicas.map(takeAll))
    const rounds = Math.floor((performance.now() - startedAt) / BUCKET.tokenReuseMs) + 1
    t.ok(taken >= 5 * (rounds - 1) && taken <= 5 * rounds, `${taken} in ${rounds} rounds`)
  },
)

await t.test('replicas that ask at the same time share one queue', { skip: NO_REDIS }, async (t) => {
  const { server, replicas } = await threeReplicas(t)
  const waits = await Promise.all(
    [...replicas, ...replicas, ...replicas, ...replicas].map(({ tokens }) => tokens.take(BUCKET, 0, 1_500)),
  )
  const rounds = waits
    .map((token) => token?.waitMs ?? -1)
    .toSorted((a, b) => a - b)
    .map((wait) => Math.ceil(wait / BUCKET.tokenReuseMs))
  t.strictSame(rounds, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2], 'the last two are over the longest wait')
  t.equal(await server.cli('LLEN', 'evproxy:1:tokens'), '5')
})

await t.test('tokens written while the clock was ahead block no call', { skip: NO_REDIS }, async (t) => {
  const { server, replicas } = await threeReplicas(t)
  const ahead = String(Date.now() + 3_600_000)
  await server.cli('RPUSH', 'evproxy:1:tokens', ahead, ahead, ahead, ahead, ahead)
  t.equal((await replicas[0].tokens.take(BUCKET, 0, 0))?.waitMs, 0)
})
