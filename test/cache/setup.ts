import type { CacheDeps, CacheOptions, LookupResult } from '../../src/cache/cache.ts'
import { Cache } from '../../src/cache/cache.ts'
import { CALL_BYTES, WAITER_BYTES } from '../../src/cache/single-flight.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { ServiceError } from '../../src/errors.ts'
import type { CacheResult, StoredAnswer } from '../../src/events.ts'
import { ByteBudget } from '../../src/lib/byte-budget.ts'
import type { StationPacing } from '../../src/cache/pacing-port.ts'
import { UNPACED } from '../../src/cache/entry-store.ts'
import { MIN_SERVED_FOR_STALE } from '../../src/cache/pacing-port.ts'
import { settled, TestClock } from '../support/clock.ts'
import { ScriptedSource } from '../support/scripted-source.ts'

/** Round numbers. The random part of the TTL is 0 unless a test changes it, so the TTL is exactly `ttlMs`. */
export const TIMES = {
  ttlMs: 30_000,
  maxTtlMs: 3_600_000,
  emptyTtlMs: 60_000,
  staleWhileRevalidateMs: 30_000,
  staleIfErrorMs: 300_000,
  softTimeoutMs: 800,
  flightTimeoutMs: 4_000,
} as const

/** The last age at which an entry is fresh, is served while it is refreshed, and may replace an error. */
export const FRESH = TIMES.ttlMs
export const REVALIDATING = TIMES.ttlMs + TIMES.staleWhileRevalidateMs
export const USABLE = TIMES.ttlMs + TIMES.staleIfErrorMs

/** Waiters that have room beside one call. */
export const MAX_WAITERS = 1_000
const WAITING_BYTES = CALL_BYTES + MAX_WAITERS * WAITER_BYTES

const ROOMY = { maxEntries: 1_000, maxBytes: 10_000_000 }

export interface Context {
  readonly cache: Cache
  readonly clock: TestClock
  readonly source: ScriptedSource
  /** The `lookedUp` events, in order. */
  readonly events: { readonly result: CacheResult; readonly ageSeconds: number | null }[]
  /** The number of `evicted` events. */
  readonly evictions: () => number
  /** The number of `emptyDoubted` events. */
  readonly doubted: () => number
  /** The `answerStored` events, in order. */
  readonly stored: readonly StoredAnswer[]
  /** Sets the TTL in force, as pacing does; null for the configured one. */
  readonly extendTtlTo: (ttlMs: number | null) => void
}

interface SetupDeps extends Partial<Pick<CacheDeps, 'shared'>> {
  readonly random?: () => number
  readonly clock?: TestClock
  readonly source?: ScriptedSource
  /** The TTL in force is set by `extendTtlTo`, as pacing does. */
  readonly isPaced?: boolean
}

/** The same TTL for all stations; every stale answer counts as served often enough to be served at once. */
function fixedPacing(ttlMs: () => number): StationPacing {
  const state = () => ({ ...UNPACED, served: MIN_SERVED_FOR_STALE })
  return { ttlMs, served: () => {}, waited: () => {}, first: state, after: state }
}

export function setup(options: Partial<CacheOptions> = {}, deps: SetupDeps = {}): Context {
  const settings = { ...TIMES, ...ROOMY, ...options }
  const { clock = new TestClock(), random = () => 0, shared = null } = deps
  const source = deps.source ?? new ScriptedSource(clock.now)
  const events: Context['events'] = []
  const changes: StoredAnswer[] = []
  let evictions = 0
  let doubted = 0
  let extendedTtlMs: number | null = null
  const cache = new Cache(settings, {
    load: source.load,
    clock,
    random,
    shared,
    waiting: new ByteBudget(WAITING_BYTES),
    pacing: deps.isPaced === true ? fixedPacing(() => extendedTtlMs ?? settings.ttlMs) : null,
    observer: {
      lookedUp: (result, ageSeconds) => void events.push({ result, ageSeconds }),
      evicted: () => void evictions++,
      emptyDoubted: () => void doubted++,
      answerStored: (stored) => void changes.push(stored),
    },
  })
  return {
    cache,
    clock,
    source,
    events,
    evictions: () => evictions,
    doubted: () => doubted,
    stored: changes,
    extendTtlTo: (ttlMs) => {
      extendedTtlMs = ttlMs
    },
  }
}

/** A cache with an entry for station a, of this age, from call 1. Later calls wait. */
export async function setupAged(
  ageMs: number,
  options: Partial<CacheOptions> = {},
  deps: SetupDeps = {},
): Promise<Context> {
  const ctx = setup(options, deps)
  ctx.source.answerAll()
  await lookup(ctx)
  ctx.source.holdAll()
  await ctx.clock.advance(ageMs)
  ctx.events.length = 0
  return ctx
}

/** The same for a station without connectors. */
export async function setupAgedEmpty(ageMs: number, options: Partial<CacheOptions> = {}): Promise<Context> {
  const ctx = setup(options)
  ctx.source.answerAllEmpty()
  await lookup(ctx)
  ctx.source.holdAll()
  await ctx.clock.advance(ageMs)
  return ctx
}

/** The result of a lookup as plain data, or the code of its error. */
export type Outcome =
  | (Pick<LookupResult, 'result' | 'ageMs' | 'ttlMs' | 'wasExpired' | 'isStored'> & {
      /** The number of the call that the answer is from. */
      readonly call: number
      readonly staleReason: ErrorCode | null
    })
  | { readonly error: ErrorCode | 'disconnected' | 'not a ServiceError' }

export interface Lookup {
  readonly outcome: Promise<Outcome>
  /** Null while the lookup waits. */
  ended: Outcome | null
  readonly disconnect: () => void
}

/** Starts a lookup that may have to wait. */
export function startLookup({ cache }: Pick<Context, 'cache'>, id = 'a'): Lookup {
  const client = new AbortController()
  const result = new Promise<LookupResult>((resolve) => {
    resolve(cache.get(id, () => client.signal))
  })
  const outcome = result.then(outcomeOf, (error: unknown) =>
    error === client.signal.reason ? { error: 'disconnected' as const } : { error: codeOf(error) },
  )
  const started: Lookup = { outcome, ended: null, disconnect: () => client.abort(new Error('disconnected')) }
  const watch = async () => {
    started.ended = await outcome
  }
  void watch()
  return started
}

/** So many lookups for one station that wait for its call. */
export async function waiters(ctx: Pick<Context, 'cache'>, size = MAX_WAITERS): Promise<Lookup[]> {
  const lookups = Array.from({ length: size }, () => startLookup(ctx))
  await settled()
  return lookups
}

export function outcomesOf(lookups: readonly Lookup[]): Promise<Outcome[]> {
  return Promise.all(lookups.map(({ outcome }) => outcome))
}

/** A lookup that ends without time passing. */
export async function lookup(ctx: Pick<Context, 'cache'>, id = 'a'): Promise<Outcome> {
  const started = startLookup(ctx, id)
  await settled()
  if (started.ended === null) throw new Error('the lookup waits')
  return started.ended
}

export const hit = (call: number, ageMs: number): Outcome => ({
  result: 'hit',
  call,
  ageMs,
  ttlMs: TIMES.ttlMs - ageMs,
  wasExpired: false,
  isStored: true,
  staleReason: null,
})
export const stale = (call: number, ageMs: number): Outcome => ({ ...hit(call, ageMs), result: 'stale' })
export const staleError = (call: number, ageMs: number, staleReason: ErrorCode): Outcome => ({
  ...hit(call, ageMs),
  result: 'stale_error',
  staleReason,
})
export const miss = (call: number, wasExpired = false): Outcome => ({
  ...hit(call, 0),
  result: 'miss',
  wasExpired,
})
export const coalesced = (call: number, wasExpired = false): Outcome => ({
  ...miss(call, wasExpired),
  result: 'coalesced',
})

export function repeat<T>(times: number, value: T): T[] {
  return Array.from({ length: times }, () => value)
}

/** When calls are made while a lookup comes every 100 ms, in ms from the first. */
export async function callTimes(ctx: Context, forMs: number, id = 'a'): Promise<number[]> {
  const start = ctx.clock.now()
  const before = ctx.source.calls.length
  while (ctx.clock.now() <= start + forMs) {
    await lookup(ctx, id)
    await ctx.clock.advance(100)
  }
  return ctx.source.calls.slice(before).map(({ at }) => at - start)
}

/** A small generator of numbers from 0 up to 1, the same in every run. */
export function seeded(seed = 1): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** The number of the call that a body came from. */
export function callIn(json: string): number {
  return (JSON.parse(json) as { call: number }).call
}

function outcomeOf(found: LookupResult): Outcome {
  const { answer, result, ageMs, ttlMs, wasExpired, isStored, staleReason } = found
  const call = callIn(answer.json)
  return { result, call, ageMs, ttlMs, wasExpired, isStored, staleReason: staleReason?.code ?? null }
}

function codeOf(error: unknown): ErrorCode | 'not a ServiceError' {
  return error instanceof ServiceError ? error.code : 'not a ServiceError'
}
