import t from 'tap'
import { bucketFor, LocalTokenBucket } from '../../../src/upstream/state/token-bucket.ts'
import { TestClock } from '../../support/clock.ts'
import { tokenBucketContract } from './token-bucket.contract.ts'

/* How the bucket limits calls over time is tested in policies/rate-limit.test.ts. */

await t.test('the local token bucket fulfils the contract', async (t) => {
  await tokenBucketContract(t, async (_t, bucket) => {
    const clock = new TestClock()
    return { buckets: [new LocalTokenBucket(bucket, clock)], pass: clock.advance.bind(clock) }
  })
})

await t.test('a limit of calls per second becomes whole tokens, a reuse time and a reserve', async (t) => {
  t.strictSame([0.5, 1, 5, 7.5, 8].map(bucketFor), [
    { count: 1, tokenReuseMs: 2_020, reserved: 0 },
    { count: 1, tokenReuseMs: 1_020, reserved: 0 },
    { count: 5, tokenReuseMs: 1_020, reserved: 1 },
    { count: 8, tokenReuseMs: (8 / 7.5) * 1_000 + 20, reserved: 2 },
    { count: 8, tokenReuseMs: 1_020, reserved: 2 },
  ])
})
