import type { Test } from 'tap'
import type { RedisConfig } from '../../src/config/redis-url.ts'
import { redisUrl } from '../../src/config/redis-url.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { openRedisStores } from '../../src/redis/stores.ts'
import type { SharedStores } from '../../src/stores.ts'
import type { QuotaStore } from '../../src/upstream/state/quota-store.ts'
import { SharedQuota } from '../../src/upstream/state/shared-quota.ts'
import { RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import type { QuotaHarness } from '../upstream/state/quota-ledger.contract.ts'

/** A machine that is busy with other tests must not look like a server that does not respond. */
const PATIENT_COMMAND_TIMEOUT_MS = 2_000

/** The stores of one replica on this server, which wait for its replies longer than those of the service. */
export async function openStores(t: Test, { url }: Pick<RedisServer, 'url'>): Promise<SharedStores> {
  const stores = await openRedisStores(redisUrl.parse(url) as RedisConfig, {
    clock: systemClock,
    observer: { sharedCacheChanged: () => {}, sharedCommandRejected: () => {}, quotaMayBeEvicted: () => {} },
    hasQuota: true,
    commandTimeoutMs: PATIENT_COMMAND_TIMEOUT_MS,
  })
  t.teardown(stores.close)
  await until('Redis can be reached', () => stores.isUp())
  return stores
}

/** The stores of three replicas on a server of their own. */
export async function threeReplicas(
  t: Test,
): Promise<{ server: RedisServer; replicas: [SharedStores, SharedStores, SharedStores] }> {
  const server = await RedisServer.start(t)
  const open = () => openStores(t, server)
  return { server, replicas: [await open(), await open(), await open()] }
}

/** Timers of the stores keep no process alive: the service's listeners do. */
export function keepAlive(t: Test): void {
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}

/** Shared quotas of replicas, each with a third of the limit while it is alone, and how to wait until they agree. */
export function quotaHarness(stores: readonly QuotaStore[], limit: number): QuotaHarness {
  const ledgers = stores.map(
    (store) => new SharedQuota({ limit, per: 'month' }, { store, clock: systemClock, share: 1 / 3 }),
  )
  /** A refund is in flight when `refund` returns. */
  const sync = async () => {
    await sleep(100)
    for (const ledger of ledgers) ledger.start()
    const [first] = ledgers
    await sleep(100)
    await until('all ledgers agree', () => ledgers.every(({ spent }) => spent === first?.spent))
    for (const ledger of ledgers) ledger.stop()
  }
  return { ledgers, sync }
}
