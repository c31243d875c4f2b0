import type { Test } from 'tap'
import type { TokenBucket, TokenBucketOptions } from '../../../src/upstream/state/token-bucket.ts'

/** Buckets of replicas that share one limit; the local implementation has one. */
export interface TokenBucketHarness {
  readonly buckets: readonly TokenBucket[]
  readonly pass: (ms: number) => Promise<void>
}

const REUSE_MS = 1_500
/** Where a test waits for no token, the time that it takes itself must not matter: on real clocks that may be seconds. */
const LONG_REUSE_MS = 20_000

/** What every implementation of TokenBucket promises. */
export async function tokenBucketContract(
  t: Test,
  create: (t: Test, bucket: TokenBucketOptions) => Promise<TokenBucketHarness>,
): Promise<void> {
  const setup = async (t: Test, tokenReuseMs = LONG_REUSE_MS) => {
    const { buckets, pass } = await create(t, { count: 4, tokenReuseMs, reserved: 1 })
    let next = 0
    /** Takes tokens one after the other, from each replica in turn. The waits of those taken, or `none`. */
    const take = async (count: number, maxWaitMs = 0, lowPriority = false) => {
      const results: (number | 'none')[] = []
      for (let i = 0; i < count; i++) {
        const bucket = buckets[next++ % buckets.length] as TokenBucket
        const token = await bucket.take({ lowPriority, maxWaitMs })
        results.push(token.kind === 'none' ? 'none' : token.waitMs)
      }
      return results
    }
    return { take, pass }
  }

  await t.test('a token bucket grants its tokens at once, and then none', async (t) => {
    const { take } = await setup(t)
    t.strictSame(await take(6), [0, 0, 0, 0, 'none', 'none'])
  })

  await t.test('a token cannot be taken again before its time', async (t) => {
    const { take, pass } = await setup(t)
    await take(4)
    await pass(LONG_REUSE_MS / 40)
    t.strictSame(await take(1), ['none'])
  })

  await t.test('a token can be taken again after its time', async (t) => {
    const { take, pass } = await setup(t, REUSE_MS)
    await take(4)
    await pass(REUSE_MS)
    t.strictSame(await take(5), [0, 0, 0, 0, 'none'])
  })

  await t.test('a token bucket states the wait for a token at once', async (t) => {
    const { take } = await setup(t)
    const waits = (await take(10, LONG_REUSE_MS * 1.5)).map((wait) =>
      wait === 'none' ? wait : Math.ceil(wait / LONG_REUSE_MS),
    )
    t.strictSame(waits, [0, 0, 0, 0, 1, 1, 1, 1, 'none', 'none'], 'in rounds')
  })

  await t.test('a request that would wait too long takes no token', async (t) => {
    const { take, pass } = await setup(t, REUSE_MS)
    await take(20)
    await pass(REUSE_MS + 50)
    t.strictSame(await take(4), [0, 0, 0, 0])
  })

  await t.test('a request of low priority leaves the reserve', async (t) => {
    const { take } = await setup(t)
    t.strictSame(await take(4, 0, true), [0, 0, 0, 'none'])
    t.strictSame(await take(2), [0, 'none'])
  })
}
