import type { Availability, Connector } from '../../src/availability/model.ts'
import type { LoadOptions, Source } from '../../src/source.ts'
import type { CacheOptions, LookupResult } from '../../src/cache/cache.ts'
import { Cache } from '../../src/cache/cache.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { ServiceError } from '../../src/errors.ts'
import type { CacheResult } from '../../src/events.ts'
import { settled, TestClock } from '../support/clock.ts'
import { connector, level } from '../support/stations.ts'

/** A call that waits at its barrier until it is told how to end. */
export class ScriptedCall {
  /** 1 for the first of all. */
  readonly number: number
  readonly id: string
  /** What the one who asked wanted the call to know. */
  readonly call: LoadOptions
  readonly result: Promise<Availability>
  /** How it ended, if it did. */
  ended: 'answered' | 'failed' | null = null
  #resolve!: (availability: Availability) => void
  #reject!: (error: unknown) => void

  constructor(number: number, id: string, call: LoadOptions) {
    this.number = number
    this.id = id
    this.call = call
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Answers with the call's number in the body. */
  answer(connectors: readonly Connector[] = [connector('Type2', level(22))]): void {
    this.ended = 'answered'
    this.#resolve({ connectors, chargingAvailability: this.id, call: this.number })
  }

  /** Answers as upstream does for an unknown id. */
  answerEmpty(): void {
    this.answer([])
  }

  fail(error: unknown = 'UpstreamFailed'): void {
    this.ended = 'failed'
    this.#reject(typeof error === 'string' ? new ServiceError(error as ErrorCode) : error)
  }
}

/** An upstream that writes down each call and ends it by its script, or on command. */
export class ScriptedSource {
  readonly calls: ScriptedCall[] = []
  script: (call: ScriptedCall) => void = () => {}

  readonly load: Source = (id, call) => {
    const made = new ScriptedCall(this.calls.length + 1, id, call)
    this.calls.push(made)
    this.script(made)
    return made.result
  }

  /** The latest call. */
  get last(): ScriptedCall {
    return this.call(this.calls.length)
  }

  call(number: number): ScriptedCall {
    const made = this.calls[number - 1]
    if (made === undefined) throw new Error(`there is no call ${number}`)
    return made
  }

  /** From now on every call is answered at once. */
  answerAll(): void {
    this.script = (call) => call.answer()
  }

  /** From now on every call fails at once. */
  failAll(error: unknown = 'UpstreamFailed'): void {
    this.script = (call) => call.fail(error)
  }
}

/** Round figures; the random part of a TTL is nil, and so the TTL is exactly this one. */
export const TIMES = {
  ttlMs: 30_000,
  emptyTtlMs: 60_000,
  staleWhileRevalidateMs: 30_000,
  staleIfErrorMs: 300_000,
  softTimeoutMs: 800,
  flightTimeoutMs: 4_000,
} as const

const ROOMY = { maxEntries: 1_000, maxBytes: 10_000_000 }

export interface Rig {
  readonly cache: Cache
  readonly clock: TestClock
  readonly source: ScriptedSource
  /** What the cache said of each lookup, in the order of their ends. */
  readonly told: { readonly result: CacheResult; readonly ageSeconds: number | null }[]
  /** Entries that left for want of room, as told. */
  readonly evictions: () => number
  /** The TTL that pacing puts in force; null for the configured one. */
  readonly stretchTo: (ttlMs: number | null) => void
}

export function rig(options: Partial<CacheOptions> = {}, random: () => number = () => 0): Rig {
  const settings = { ...TIMES, ...ROOMY, ...options }
  const clock = new TestClock()
  const source = new ScriptedSource()
  const told: Rig['told'] = []
  let evictions = 0
  let stretchedTtlMs: number | null = null
  const cache = new Cache(settings, {
    load: source.load,
    clock,
    random,
    effectiveTtlMs: () => stretchedTtlMs ?? settings.ttlMs,
    observer: {
      lookedUp: (result, ageSeconds) => void told.push({ result, ageSeconds }),
      evicted: () => void evictions++,
    },
  })
  return {
    cache,
    clock,
    source,
    told,
    evictions: () => evictions,
    stretchTo: (ttlMs) => {
      stretchedTtlMs = ttlMs
    },
  }
}

/** A lookup's end in plain words: what it found, or the code of its error. */
export type End =
  | (Pick<LookupResult, 'result' | 'ageMs' | 'ttlMs' | 'wasExpired' | 'isStored'> & {
      /** The number of the call whose answer this is. */
      readonly call: number
      readonly insteadOf: ErrorCode | null
    })
  | { readonly error: ErrorCode | 'left' | 'not one of ours' }

/** A lookup that may take its time, and its end once it has one. */
export interface Lookup {
  readonly end: Promise<End>
  /** Null while it waits. */
  ended: End | null
  /** The caller goes away. */
  readonly leave: () => void
}

export function lookUp({ cache }: Pick<Rig, 'cache'>, id = 'a'): Lookup {
  const leaving = new AbortController()
  const found = new Promise<LookupResult>((resolve) => {
    resolve(cache.get(id, () => leaving.signal))
  })
  const end = found.then(inWords, (error: unknown) =>
    error === leaving.signal.reason ? { error: 'left' as const } : { error: codeOf(error) },
  )
  const lookup: Lookup = { end, ended: null, leave: () => leaving.abort(new Error('left')) }
  const watch = async () => {
    lookup.ended = await end
  }
  void watch()
  return lookup
}

/** A lookup that ends by itself, without time going by. */
export async function found(rig: Pick<Rig, 'cache'>, id = 'a'): Promise<End> {
  const lookup = lookUp(rig, id)
  await settled()
  if (lookup.ended === null) throw new Error('the lookup waits')
  return lookup.ended
}

/** The number of the call that a body came from. */
export function callIn(json: string): number {
  return (JSON.parse(json) as { call: number }).call
}

function inWords({
  answer,
  result,
  ageMs,
  ttlMs,
  wasExpired: expired,
  isStored: stored,
  staleReason: insteadOf,
}: LookupResult): End {
  const call = callIn(answer.json)
  return {
    result,
    call,
    ageMs,
    ttlMs,
    wasExpired: expired,
    isStored: stored,
    insteadOf: insteadOf?.code ?? null,
  }
}

function codeOf(error: unknown): ErrorCode | 'not one of ours' {
  return error instanceof ServiceError ? error.code : 'not one of ours'
}
