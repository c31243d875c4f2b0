import type { Test } from 'tap'
import t from 'tap'
import { systemClock } from '../../src/lib/clock.ts'
import { SharedCoolDownState } from '../../src/upstream/state/shared-cool-down.ts'
import { SharedTokenBucket } from '../../src/upstream/state/shared-token-bucket.ts'
import { LocalTokenBucket } from '../../src/upstream/state/token-bucket.ts'
import { keepAlive, quotaHarness, sleep } from '../redis/replicas.ts'
import { coolDownContract } from '../upstream/state/cool-down-state.contract.ts'
import { pacingStoresContract } from '../upstream/pacing/pacing-stores.contract.ts'
import { quotaContract } from '../upstream/state/quota-ledger.contract.ts'
import { storedQuotaKindsContract } from '../upstream/state/quota-ledgers.contract.ts'
import { sendCheckContract } from '../upstream/state/send-check.contract.ts'
import { tokenBucketContract } from '../upstream/state/token-bucket.contract.ts'
import { createStores } from '../../src/state-dir/stores.ts'
import { localStores } from './local-stores.ts'

keepAlive(t)

const threeProcesses = (t: Test) => {
  const { open } = localStores(t)
  return [open(), open(), open()]
}

await t.test('token buckets in a state directory fulfil the contract', async (t) => {
  await tokenBucketContract(t, async (t, bucket) => {
    const createLocal = () => new LocalTokenBucket(bucket, systemClock)
    const buckets = threeProcesses(t).map(
      ({ tokens: store }) => new SharedTokenBucket(bucket, { store, clock: systemClock, createLocal }),
    )
    return { buckets, pass: sleep }
  })
})

await t.test('the check at sending in a state directory fulfils the contract', async (t) => {
  await sendCheckContract(t, async (t) => threeProcesses(t).map(({ tokens }) => tokens))
})

await t.test('cool-downs in a state directory fulfil the contract', async (t) => {
  await coolDownContract(t, async (t) => {
    const events: string[][] = []
    const states = threeProcesses(t).map(({ coolDowns }) => {
      const own: string[] = []
      events.push(own)
      const observer = {
        upstreamRejected: ({ diagnosis }: { diagnosis: string }) => void own.push(diagnosis),
        upstreamRecovered: () => void own.push('recovered'),
        upstreamHeldBack: () => {},
        coolDownStarted: () => {},
      }
      return new SharedCoolDownState(coolDowns, { clock: systemClock, observer })
    })
    return { states, now: () => systemClock.now(), pass: sleep, events }
  })
})

await t.test('quotas in a state directory fulfil the contract', async (t) => {
  await quotaContract(t, async (t, limit) => {
    return quotaHarness(
      threeProcesses(t).map(({ quota }) => quota),
      limit,
    )
  })
})

await t.test('quotas of two kinds in a state directory fulfil the contract', async (t) => {
  await storedQuotaKindsContract(t, async (t) => {
    const { open } = localStores(t)
    return { stores: [open().quota, open().quota], clock: systemClock }
  })
})

await t.test('pacing in a state directory fulfils the contract', async (t) => {
  await pacingStoresContract(t, async (t) => threeProcesses(t))
})

await t.test('a purge that the store thread does not do is reported', async (t) => {
  const unavailable = {
    isUp: false,
    outage: null,
    canCount: false,
    request: async () => undefined,
    count: async () => undefined,
    name: 'a',
    processes: 1,
  }
  const { answers, stop } = createStores(unavailable, systemClock)
  t.teardown(stop)
  t.strictSame([await answers.purge('a'), await answers.purgeAll()], [false, false])
})
