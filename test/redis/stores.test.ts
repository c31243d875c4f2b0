import t from 'tap'
import { systemClock } from '../../src/lib/clock.ts'
import { SharedCoolDownState } from '../../src/upstream/state/shared-cool-down.ts'
import { SharedTokenBucket } from '../../src/upstream/state/shared-token-bucket.ts'
import { LocalTokenBucket } from '../../src/upstream/state/token-bucket.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { coolDownContract } from '../upstream/state/cool-down-state.contract.ts'
import { pacingStoresContract } from '../upstream/pacing/pacing-stores.contract.ts'
import { quotaContract } from '../upstream/state/quota-ledger.contract.ts'
import { storedQuotaKindsContract } from '../upstream/state/quota-ledgers.contract.ts'
import { sendCheckContract } from '../upstream/state/send-check.contract.ts'
import { tokenBucketContract } from '../upstream/state/token-bucket.contract.ts'
import { keepAlive, openStores, quotaHarness, sleep, threeReplicas } from './replicas.ts'

keepAlive(t)

const ANSWER = { json: '{}', ageMs: 0, startedAgoMs: 0, jitter: 1, changedAt: 0 }

await t.test('token buckets on Redis fulfil the contract', { skip: NO_REDIS }, async (t) => {
  await tokenBucketContract(t, async (t, bucket) => {
    const createLocal = () => new LocalTokenBucket(bucket, systemClock)
    const { replicas } = await threeReplicas(t)
    const buckets = replicas.map(
      ({ tokens: store }) => new SharedTokenBucket(bucket, { store, clock: systemClock, createLocal }),
    )
    return { buckets, pass: sleep }
  })
})

await t.test('the check at sending on Redis fulfils the contract', { skip: NO_REDIS }, async (t) => {
  await sendCheckContract(t, async (t) => (await threeReplicas(t)).replicas.map(({ tokens }) => tokens))
})

await t.test('cool-downs on Redis fulfil the contract', { skip: NO_REDIS }, async (t) => {
  await coolDownContract(t, async (t) => {
    const { replicas } = await threeReplicas(t)
    const events: string[][] = []
    const states = replicas.map(({ coolDowns }) => {
      const own: string[] = []
      events.push(own)
      const observer = {
        upstreamRejected: ({ diagnosis }: { diagnosis: string }) => void own.push(diagnosis),
        coolDownStarted: () => {},
        upstreamHeldBack: () => {},
        upstreamRecovered: () => void own.push('recovered'),
      }
      return new SharedCoolDownState(coolDowns, { clock: systemClock, observer })
    })
    return { states, now: () => systemClock.now(), pass: sleep, events }
  })
})

await t.test('quotas on Redis fulfil the contract', { skip: NO_REDIS }, async (t) => {
  await quotaContract(t, async (t, limit) => {
    const { replicas } = await threeReplicas(t)
    return quotaHarness(
      replicas.map(({ quota }) => quota),
      limit,
    )
  })
})

await t.test('quotas of two kinds on Redis fulfil the contract', { skip: NO_REDIS }, async (t) => {
  await storedQuotaKindsContract(t, async (t) => {
    const server = await RedisServer.start(t)
    const open = async () => (await openStores(t, server)).quota
    return { stores: [await open(), await open()], clock: systemClock }
  })
})

await t.test('pacing on Redis fulfils the contract', { skip: NO_REDIS }, async (t) => {
  await pacingStoresContract(t, async (t) => (await threeReplicas(t)).replicas)
})

await t.test(
  'a replica on Redis is notified of every answer that another one stores',
  { skip: NO_REDIS },
  async (t) => {
    const { replicas } = await threeReplicas(t)
    const [one, other] = replicas
    const seen: string[] = []
    other.answers.onPublished?.((id, version) => seen.push(`${id} ${version}`))
    let number = 0
    await until('the connection for notifications is there', () => {
      one.answers.publish('an id, with spaces', { ...ANSWER, version: `v${number++}` }, 60_000)
      return seen.length > 0
    })
    t.match(seen[0], /^an id, with spaces v\d+$/)
  },
)
