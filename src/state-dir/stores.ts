import { randomUUID } from 'node:crypto'
import type {
  AnswerArchive,
  LeaseResult,
  SharedAnswer,
  SharedAnswerStore,
  UsedAnswer,
  WantedLease,
} from '../cache/shared-store.ts'
import type { ErrorCode } from '../errors.ts'
import type { SharedStores } from '../stores.ts'
import type { SharedCoolDown } from '../upstream/state/cool-down-state.ts'
import type { PacingStore } from '../upstream/pacing/learned-pacing.ts'
import type { UnknownIdStore } from '../upstream/pacing/unknown-id-allowance.ts'
import type { CoolDownStore } from '../upstream/state/shared-cool-down.ts'
import type { QuotaReply, QuotaStore, QuotaUpdate } from '../upstream/state/quota-store.ts'
import type { GateReply, StoreGate } from '../upstream/state/shared-send-gate.ts'
import { passStoreGate } from '../upstream/state/shared-send-gate.ts'
import type { TokenStore } from '../upstream/state/shared-token-bucket.ts'
import type { TokenBucketOptions } from '../upstream/state/token-bucket.ts'
import { AnnouncementFeed } from './announcement-feed.ts'
import type { ConnectionDeps, ConnectionOptions } from './connection.ts'
import { Connection } from './connection.ts'
import type { Used } from './use-order.ts'

/**
 * Opens the stores in a directory, whether or not they work at present.
 * @throws UnusableDirectoryError
 */
export async function openStateDirStores(
  options: ConnectionOptions,
  deps: ConnectionDeps,
): Promise<SharedStores> {
  const connection = await Connection.open(options, deps)
  const { stop, ...stores } = createStores(connection, deps.clock)
  const close = () => {
    stop()
    return connection.close()
  }
  return { ...stores, close }
}

/** Where the stores send their requests. */
export type Requester = Pick<
  Connection,
  'isUp' | 'outage' | 'request' | 'canCount' | 'count' | 'name' | 'processes'
>

/** The stores, and what ends their own requests. */
export function createStores(
  connection: Requester,
  clock: ConnectionDeps['clock'],
): Omit<SharedStores, 'close'> & { readonly stop: () => void } {
  const feed = new AnnouncementFeed(connection, clock)
  return {
    answers: answerStore(connection, feed),
    stop: () => feed.stop(),
    archive: answerArchive(connection),
    tokens: tokenStore(connection, clock),
    quota: quotaStore(connection),
    coolDowns: coolDownStore(connection),
    pacing: pacingStore(connection),
    unknownIds: unknownIdStore(connection),
    isUp: () => connection.isUp,
  }
}

function answerStore(connection: Requester, feed: AnnouncementFeed): SharedAnswerStore {
  return {
    get isUp() {
      return connection.isUp
    },
    async leaseGet(id: string, known: string, lease: WantedLease) {
      const result = await connection.request('leaseGet', [id, known, lease])
      return (result as LeaseResult | undefined) ?? { kind: 'unavailable' }
    },
    renew: (id, lease) => void connection.request('renew', [id, lease]),
    publish: (id: string, answer: SharedAnswer, lifeMs: number) =>
      void connection.request('publish', [id, answer, Math.ceil(lifeMs)]),
    release: (id: string, token: string, { code, ms }: { readonly code: ErrorCode; readonly ms: number }) =>
      void connection.request('release', [id, token, code, Math.ceil(ms)]),
    purge: async (id) => (await connection.request('purge', [id, feed.name])) === true,
    purgeAll: async () => (await connection.request('purgeAll', [feed.name])) === true,
    onPublished: (stored) => feed.listen({ stored }),
    onPurged: (purged) => feed.listen({ purged }),
    async noteUses(uses) {
      await connection.request('noteUses', [uses])
    },
  }
}

/** Stations that are listed in one request. */
const LIST_AT_ONCE = 2_000

function answerArchive(connection: Requester): AnswerArchive {
  return {
    async *recent() {
      let before: readonly [number, string] | null = null
      for (;;) {
        const list = (await connection.request('recentlyUsed', [before, LIST_AT_ONCE])) as Used[] | undefined
        const last = list?.at(-1)
        if (list === undefined || last === undefined) return
        yield list.map(([id, at, bytes]): UsedAnswer => ({ id, usedAtMs: at, bytes }))
        before = [last[1], last[0]]
      }
    },
    async read(ids) {
      const found = await connection.request('readAnswers', [ids])
      return (found as readonly (readonly [string, SharedAnswer])[] | undefined) ?? []
    },
  }
}

function pacingStore(connection: Requester): PacingStore {
  const owner = randomUUID()
  let latest: number | null = null
  const exchange = async (thetaS: number) => {
    latest = ((await connection.request('exchangePrice', [thetaS, owner])) as number | null) ?? null
  }
  return {
    latestThetaS: () => (connection.isUp ? latest : null),
    publishTheta: (thetaS) => void exchange(thetaS),
    load: () => connection.request('loadLearned', []),
    save: async (learned) => void (await connection.request('saveLearned', [learned])),
  }
}

function unknownIdStore(connection: Requester): UnknownIdStore {
  return {
    async apply(charge) {
      return ((await connection.request('chargeUnknownIds', [charge])) as number | undefined) ?? null
    },
  }
}

function tokenStore(connection: Requester, clock: ConnectionDeps['clock']): TokenStore {
  const gateFor = (count: number, reuseMs: number): StoreGate => ({
    ask: async () => (await connection.request('passGate', [count, reuseMs])) as GateReply | undefined,
    arrived: (number) => void connection.request('callArrived', [number]),
  })
  return {
    get outage() {
      return connection.outage
    },
    get processes() {
      return connection.processes
    },
    async take({ count, tokenReuseMs }: TokenBucketOptions, leave: number, maxWaitMs: number) {
      const waitMs = await connection.request('takeToken', [count, tokenReuseMs, leave, maxWaitMs])
      return waitMs === undefined ? null : { waitMs: Number(waitMs) }
    },
    pass: ({ count, tokenReuseMs }) => passStoreGate(gateFor(count, tokenReuseMs), clock),
  }
}

function quotaStore(connection: Requester): QuotaStore {
  return {
    get isUp() {
      return connection.canCount
    },
    async apply(update: QuotaUpdate) {
      return ((await connection.count([update, connection.name])) as QuotaReply | undefined) ?? null
    },
  }
}

function coolDownStore(connection: Requester): CoolDownStore {
  return {
    async get(key) {
      return ((await connection.request('getCoolDown', [key])) as SharedCoolDown | null | undefined) ?? null
    },
    set: (key, coolDown) => void connection.request('setCoolDown', [key, coolDown]),
    clear: (key) => void connection.request('clearCoolDown', [key]),
    async tryAcquireProbe(key) {
      return (await connection.request('acquireProbe', [key])) !== false
    },
    releaseProbe: (key) => void connection.request('releaseProbe', [key]),
  }
}
