import { configErrorOf } from './app-state-dir.ts'
import { QuotaCheck } from './app-quota-check.ts'
import type { QuotaStack } from './app-quota.ts'
import { createLedgers, createQuota, stopLedgers } from './app-quota.ts'
import type { CacheOptions } from './cache/cache.ts'
import { Cache } from './cache/cache.ts'
import { PendingPurges } from './cache/pending-purges.ts'
import type { SharedAnswerStore } from './cache/shared-store.ts'
import { UseNotes } from './cache/use-notes.ts'
import { WarmStart } from './cache/warm-start.ts'
import type { Clients } from './clients/clients.ts'
import type { ByteBudget } from './lib/byte-budget.ts'
import type { Config } from './config/load.ts'
import type { RuntimeSettings } from './config/runtime-settings.ts'
import type { Observer } from './events.ts'
import type { Gauges } from './gauges.ts'
import type { Clock } from './lib/clock.ts'
import type { Turns } from './lib/turns.ts'
import { openRedisStores } from './redis/stores.ts'
import type { EarlyCheck } from './state-dir/check-file.ts'
import type { SharedStores } from './stores.ts'
import type { UpstreamStack } from './upstream/policies.ts'
import { withPolicies } from './upstream/policies.ts'
import type { ApiKey } from './upstream/tomtom/api-key.ts'
import type { TomTom } from './upstream/tomtom/client.ts'
import { createTomTom } from './upstream/tomtom/client.ts'
import { checkKey } from './upstream/tomtom/key-check.ts'

/** The deadline of a call in the cache exceeds the sum of the timeouts inside it by this. */
const DEADLINE_MARGIN_MS = 50

export interface CacheStackDeps {
  readonly config: Config
  readonly clock: Clock
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
  readonly apiKey: ApiKey
  readonly waiting: ByteBudget
  readonly turns: Turns
  readonly userAgent: string
  readonly runtime: { readonly stateCheck?: EarlyCheck | null }
  /** Null if clients have no names. */
  readonly clients: Pick<Clients, 'names'> | null
}

/** The cache, upstream with its policies behind it, and what replicas share. */
export async function createCacheStack(deps: CacheStackDeps) {
  const { config, clock, observer, apiKey, turns, userAgent } = deps
  const stores = await openStores(deps)
  const purges = stores && new PendingPurges({ ...deps, store: stores.answers, archive: stores.archive })
  const tomtom = createTomTom(
    { ...config.upstream, proxy: config.outboundProxy, userAgent },
    { apiKey: apiKey.current, observer, clock, turns },
  )
  // The price follows the lookups of the cache, and the cache needs the TTLs that the price gives: hence the functions.
  let created: Cache | null = null
  const ledgers = createLedgers({ ...deps, stores })
  const quotaDeps = { ...deps, stores, ledgers, lookups: () => created?.lookups ?? 0 }
  let quota = createQuota(quotaDeps)
  deps.subscribe({ sharedCacheChanged: (up) => up && quota?.start() })
  const upstream = createUpstream(deps, tomtom, quota, stores)
  const cacheOptions = { ...config.cache, ...config.upstream, flightTimeoutMs: deadlineMs(config) }
  const cache = createCache(deps, { cacheOptions, upstream, answers: purges?.store, quota: () => quota })
  created = cache
  const storeTasks = purges && createStoreTasks(deps, purges, cache)
  const quotaCheck = new QuotaCheck({ ...deps, store: cache.store, quota: () => quota })
  return {
    cache,
    start: () => void startAll(storeTasks, quotaCheck),
    gauges: createGauges({ config, cache, tomtom, upstream, quota: () => quota, quotaCheck, stores, purges }),
    checkKey: () => checkKey(upstream.limitedSource),
    /** From now on answers that other replicas publish for these stations are taken over, cached or not. */
    fetchWatched: followPublished(stores, cache),
    /** Whether calls are held back: the circuit is open and no probe is due, or the quota is rationed. */
    isSparing: () => upstream.isBlocked() || quota?.forecast().isRationing === true,
    /** Applies what has changed in `config`. */
    applySettings(before: RuntimeSettings) {
      Object.assign(cacheOptions, config.cache)
      if (config.cache.ttlMs === 0) void cache.purge.all()
      if (config.upstream.perSecond !== before.upstream.perSecond) upstream.setRate(config.upstream.perSecond)
      if (!isPacingChanged(config, before)) return
      quota = createQuota(quotaDeps, quota)
      upstream.setQuota(quota)
      quotaCheck.start()
    },
    async close() {
      await tomtom.close()
      quotaCheck.stop()
      purges?.stop()
      stopLedgers(ledgers)
      await quota?.close()
      await storeTasks?.stop()
      await stores?.close()
    },
  }
}

interface CacheParts {
  readonly cacheOptions: CacheOptions
  readonly upstream: Pick<UpstreamStack, 'source' | 'isAffordable'>
  readonly answers: SharedAnswerStore | undefined
  readonly quota: () => QuotaStack | null
}

function createCache(
  { clock, observer, waiting, turns }: CacheStackDeps,
  { cacheOptions, upstream, answers, quota }: CacheParts,
): Cache {
  return new Cache(cacheOptions, {
    load: upstream.source,
    observer,
    clock,
    random: Math.random,
    get pacing() {
      return quota()?.stations ?? null
    },
    shared: answers ? { store: answers, observer, isAffordable: upstream.isAffordable, turns } : null,
    waiting,
  })
}

/** Takes over answers that other replicas publish. The returned function names the stations that are watched here. */
function followPublished(stores: SharedStores | null, cache: Cache): (isWatched: IsWatched) => void {
  let isWatched: IsWatched | null = null
  stores?.answers.onPublished?.((id, version) => cache.published(id, version, isWatched?.(id) === true))
  return (isWatchedHere) => void (isWatched = isWatchedHere)
}

type IsWatched = (id: string) => boolean

/** The check is last: it counts the stations in use, those of earlier processes among them. */
async function startAll(
  storeTasks: ReturnType<typeof createStoreTasks>,
  quotaCheck: QuotaCheck,
): Promise<void> {
  await storeTasks?.run()
  quotaCheck.start()
}

interface GaugeDeps {
  readonly config: Config
  readonly cache: Cache
  readonly tomtom: TomTom
  readonly upstream: UpstreamStack
  readonly quota: () => QuotaStack | null
  readonly quotaCheck: QuotaCheck
  readonly stores: SharedStores | null
  readonly purges: PendingPurges | null
}

function createGauges({
  config,
  cache,
  tomtom,
  upstream,
  quota,
  quotaCheck,
  stores,
  purges,
}: GaugeDeps): Omit<Gauges, 'access' | 'live' | 'waiting'> {
  return {
    cache: () => ({ entries: cache.store.entries, bytes: cache.store.bytes }),
    upstream: () => ({
      inFlight: tomtom.inFlight(),
      queued: upstream.queued(),
      circuit: upstream.circuit(),
      callsPerSecond: config.upstream.perSecond || null,
    }),
    quota: () => quota()?.ledger ?? null,
    pacing: () => {
      const forecast = quota()?.forecast() ?? null
      return forecast && { ...forecast, shortfall: quotaCheck.shortfall }
    },
    effectiveTtlMs: () => quota()?.stations?.meanTtlMs() ?? config.cache.ttlMs,
    sharedCacheUp: () => stores && stores.isUp(),
    pendingPurges: () => purges?.waiting ?? 0,
  }
}

/** On disk an answer takes more than in memory, and answers that do not fit in memory are kept as well. */
const DISK_FACTOR = 4

/** @throws ConfigError if the state directory cannot be used */
async function openStores({
  config,
  clock,
  observer,
  runtime,
}: CacheStackDeps): Promise<SharedStores | null> {
  const hasQuota = config.upstream.quota !== null
  if (config.stateDir === null)
    return config.redis && openRedisStores(config.redis, { clock, observer, hasQuota })
  const { openStateDirStores } = await import('./state-dir/stores.ts')
  try {
    const answerBytes = DISK_FACTOR * config.cache.maxBytes
    const options = { dir: config.stateDir, answerBytes, earlyCheck: runtime.stateCheck ?? null }
    return await openStateDirStores(options, { clock, observer })
  } catch (error) {
    throw configErrorOf(error)
  }
}

function createUpstream(
  { config, clock, observer, apiKey, clients }: CacheStackDeps,
  tomtom: TomTom,
  quota: QuotaStack | null,
  stores: SharedStores | null,
) {
  const { limitShare: share } = config.upstream
  return withPolicies(
    {
      ...config.upstream,
      share,
      clientShare: config.clients.quotaShare,
      hasNamedClients: clients !== null,
      clientCount: () => clients?.names().length ?? 0,
    },
    { source: tomtom.source, quota, stores, apiKey: apiKey.current, clock, observer, random: Math.random },
  )
}

/** At the start reads the entries of earlier processes from the store, and from then on notes there which are used. */
function createStoreTasks({ config, clock, turns }: CacheStackDeps, purges: PendingPurges, cache: Cache) {
  if (config.cache.ttlMs === 0) return null
  const { archive, store: shared } = purges
  const { store, purge } = cache
  const warmStart =
    archive && new WarmStart({ ...config.cache, archive, store, clock, turns, purges: () => purge.count })
  const notes = new UseNotes({ shared, entries: store, clock })
  return {
    async run(): Promise<void> {
      notes.start()
      await warmStart?.run()
    },
    async stop(): Promise<void> {
      warmStart?.stop()
      await notes.stop()
    },
  }
}

function isPacingChanged({ cache, upstream }: Config, before: RuntimeSettings): boolean {
  const [one, other] = [upstream.quota, before.upstream.quota]
  const isQuotaChanged = one?.limit !== other?.limit || one?.per !== other?.per
  return isQuotaChanged || cache.ttlMs !== before.cache.ttlMs || cache.maxTtlMs !== before.cache.maxTtlMs
}

function deadlineMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + DEADLINE_MARGIN_MS
}
