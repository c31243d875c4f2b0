import * as fc from 'fast-check'
import t from 'tap'
import type { ErrorCode } from '../../src/errors.ts'
import { settled } from '../support/clock.ts'
import type { End, Lookup, Rig, ScriptedCall } from './doubles.ts'
import { lookUp, rig, TIMES } from './doubles.ts'

/*
 * Random lives of a cache, held against what must be true of every one of them. The judge keeps a diary of
 * the calls and of the lookups, and knows nothing of entries, flights or setbacks.
 */

const { ttlMs, emptyTtlMs, staleWhileRevalidateMs, staleIfErrorMs, flightTimeoutMs } = TIMES
const LONGEST_BACK_OFF_MS = 10_000
const IDS = ['a', 'b', 'c'] as const
const FAILURES = ['UpstreamFailed', 'UpstreamTimeout', 'InternalError', 'a bug'] as const
const NOT_SENT = ['TooManyRequests', 'UpstreamRefused', 'UpstreamUnavailable', 'QuotaExhausted'] as const
const REFUSALS = ['InvalidParameter', 'NotFound'] as const

/** Numbers choose among what there is at that moment; `quick` leaves promises no time to settle. */
const anyStep = fc.record({
  quick: fc.boolean(),
  does: fc.oneof(
    { weight: 8, arbitrary: fc.record({ join: fc.constantFrom(...IDS) }) },
    { weight: 2, arbitrary: fc.record({ leave: fc.nat({ max: 9 }) }) },
    {
      weight: 5,
      arbitrary: fc.record({ answer: fc.nat({ max: 9 }), empty: fc.boolean() }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ fail: fc.nat({ max: 9 }), code: fc.constantFrom(...FAILURES, ...NOT_SENT) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ fail: fc.nat({ max: 9 }), code: fc.constantFrom(...REFUSALS) }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        pass: fc.constantFrom(1, 799, 800, 1_000, 3_999, 4_000, 10_000, 27_000, 30_001, 60_001, 330_001),
      }),
    },
    { weight: 1, arbitrary: fc.record({ jumpHours: fc.constantFrom(-1, 1, 24) }) },
    { weight: 1, arbitrary: fc.record({ stretchTo: fc.constantFrom(null, 30_000, 90_000, 300_000) }) },
  ),
})
type Step = typeof anyStep extends fc.Arbitrary<infer S> ? S : never

interface CallEntry {
  readonly call: ScriptedCall
  readonly startedAt: number
  endedAt: number | null
  empty: boolean
  code: ErrorCode | null
}

interface LookupEntry {
  readonly id: string
  readonly lookup: Lookup
  readonly startedAt: number
  left: boolean
  judged: boolean
}

/** One life: what was done, and what has to be true of it. */
class Life {
  readonly rig: Rig
  readonly calls: CallEntry[] = []
  readonly lookups: LookupEntry[] = []
  /** What happened, so that a run in which nothing did can be told from a good one. */
  readonly seen: Record<string, number>
  readonly #evicts: boolean
  #ttlMs: number = ttlMs
  #broken: Error | null = null

  constructor({ evicts, seen }: { evicts: boolean; seen: Record<string, number> }) {
    let jitter = 0
    this.rig = rig(evicts ? { maxEntries: 1 } : {}, () => (jitter = (jitter + 0.37) % 1))
    this.rig.source.script = (call) => this.#onCall(call)
    this.seen = seen
    this.#evicts = evicts
  }

  get #now(): number {
    return this.rig.clock.now()
  }

  async step({ does, quick }: Step): Promise<void> {
    if ('join' in does) this.#join(does.join)
    else if ('leave' in does) this.#leave(does.leave)
    else if ('answer' in does) this.#answer(does.answer, does.empty)
    else if ('fail' in does) this.#fail(does.fail, does.code)
    else if ('pass' in does) await this.#pass(does.pass)
    else if ('jumpHours' in does) this.rig.clock.setWall(this.rig.clock.wall() + does.jumpHours * 3_600_000)
    else await this.#stretch(does.stretchTo)
    if (!quick) await this.#judge()
  }

  /** Everything comes to an end: what is under way is answered or given up. */
  async end(): Promise<void> {
    await this.#pass(flightTimeoutMs)
    await this.#judge()
    this.#must(this.rig.cache.flights === 0, 'the flight map empties')
    this.#must(this.rig.clock.pending === 0, 'no timer is left')
    this.#must(
      this.lookups.every(({ judged }) => judged),
      'every lookup ends',
    )
    this.#must(this.rig.cache.lookups === this.lookups.length, 'every lookup is counted')
    this.#must(this.rig.told.length === this.lookups.length, 'every lookup is told of, once')
    // An answer that comes after all is given up leaves nothing undone.
    for (const { call } of this.calls) if (call.ended === null) this.#settle(call, () => call.answer())
    await settled()
    this.#must(this.rig.cache.flights === 0 && this.rig.clock.pending === 0, 'a late answer starts nothing')
  }

  #join(id: string): void {
    const lookup = lookUp(this.rig, id)
    this.lookups.push({ id, lookup, startedAt: this.#now, left: false, judged: false })
  }

  #leave(choice: number): void {
    const waiting = this.lookups.filter(({ lookup, left }) => lookup.ended === null && !left)
    const entry = waiting[choice % (waiting.length || 1)]
    if (entry === undefined) return
    entry.left = true
    entry.lookup.leave()
  }

  #answer(choice: number, empty: boolean): void {
    const entry = this.#open(choice)
    if (entry === undefined) return
    entry.empty = empty
    this.#settle(entry.call, () => (empty ? entry.call.answerEmpty() : entry.call.answer()))
  }

  #fail(choice: number, code: string): void {
    const entry = this.#open(choice)
    if (entry === undefined) return
    entry.code = code === 'a bug' ? 'InternalError' : (code as ErrorCode)
    this.#settle(entry.call, () => entry.call.fail(code === 'a bug' ? new TypeError(code) : code))
  }

  /** A call that has not ended, be it that the cache has given it up. */
  #open(choice: number): CallEntry | undefined {
    const open = this.calls.filter(({ call }) => call.ended === null)
    return open[choice % (open.length || 1)]
  }

  #settle(call: ScriptedCall, end: () => void): void {
    const entry = this.calls[call.number - 1] as CallEntry
    entry.endedAt = this.#now
    end()
  }

  /** In steps no longer than to the next deadline, each lookup being judged at the moment of its end. */
  async #pass(ms: number): Promise<void> {
    await this.#judge()
    const end = this.#now + ms
    const moments = [
      ...this.calls.map(({ startedAt }) => startedAt + flightTimeoutMs),
      ...this.lookups.map(({ startedAt }) => startedAt + TIMES.softTimeoutMs),
    ]
    for (const at of [...moments.filter((at) => at > this.#now && at < end), end].toSorted((a, b) => a - b)) {
      await this.rig.clock.advance(at - this.#now)
      await this.#judge()
    }
  }

  async #stretch(toMs: number | null): Promise<void> {
    await this.#judge()
    this.#ttlMs = toMs ?? ttlMs
    this.rig.stretchTo(toMs)
  }

  /** Called by the cache, at the moment at which it calls upstream. */
  #onCall(call: ScriptedCall): void {
    const others = this.calls.filter((other) => other.call.id === call.id && this.#isUnderWay(other))
    this.#must(others.length === 0, `call ${call.number} begins while none is under way for ${call.id}`)
    this.#must(!this.#isRefused(call.id), `call ${call.number} begins while ${call.id} is not refused`)
    this.calls.push({ call, startedAt: this.#now, endedAt: null, empty: false, code: null })
  }

  #isUnderWay({ call, startedAt }: CallEntry): boolean {
    return call.ended === null && this.#now < startedAt + flightTimeoutMs
  }

  /** Upstream said no to this id in its last call, and not long ago. */
  #isRefused(id: string): boolean {
    const last = this.calls.findLast(({ call }) => call.id === id)
    return (
      last !== undefined &&
      (REFUSALS as readonly (ErrorCode | null)[]).includes(last.code) &&
      this.#wasInTime(last) &&
      this.#now < (last.endedAt as number) + emptyTtlMs
    )
  }

  async #judge(): Promise<void> {
    await settled()
    if (this.#broken !== null) throw this.#broken
    for (const entry of this.lookups) {
      const { lookup, judged } = entry
      if (judged || lookup.ended === null) continue
      entry.judged = true
      const end = lookup.ended
      this.#count('result' in end ? end.result : end.error)
      if ('result' in end) this.#judgeAnswer(entry, end)
      else if (end.error === 'left') this.#must(entry.left, 'nobody is sent away')
      else this.#judgeError(entry, end.error as ErrorCode)
    }
  }

  #judgeAnswer({ id, startedAt }: LookupEntry, end: Extract<End, { result: string }>): void {
    const source = this.calls[end.call - 1] as CallEntry
    const receivedAt = source.endedAt
    this.#must(source.call.id === id, `${id} gets its own station's answer`)
    this.#must(source.call.ended === 'answered' && receivedAt !== null, 'what is served was an answer')
    const ageMs = this.#now - (receivedAt as number)
    this.#must(end.ageMs === ageMs, `the age is ${ageMs}, not ${end.ageMs}`)
    const freshMs = this.#freshMs(source)
    const oldMs = Math.max(staleWhileRevalidateMs, staleIfErrorMs)
    switch (end.result) {
      case 'hit':
        return this.#must(ageMs <= freshMs, `a hit of ${ageMs} ms is fresh`)
      case 'stale':
        this.#must(ageMs > 0.9 * freshMs && ageMs <= freshMs + oldMs, `${ageMs} ms is old, not too old`)
        return this.#mustBeNewest(source, startedAt)
      case 'stale_error': {
        this.#must(ageMs <= freshMs + oldMs, `${ageMs} ms is not too old`)
        const { insteadOf } = end
        this.#must(insteadOf !== null && !isRefusal(insteadOf), `${insteadOf} may be stood in for`)
        this.#mustHaveHappened(id, insteadOf as ErrorCode, startedAt)
        return this.#mustBeNewest(source, startedAt)
      }
      case 'miss':
      case 'coalesced':
        this.#must(ageMs === 0, 'who waited has it at once')
        this.#must((receivedAt as number) >= startedAt, 'it came while they waited')
        return this.#must(this.#wasInTime(source), 'nobody gets what came after the deadline')
    }
  }

  /** No answer of a later call was there to be served. What was evicted is not there. */
  #mustBeNewest(source: CallEntry, askedAt: number): void {
    if (this.#evicts) return
    const newer = this.calls.find(
      ({ call, endedAt, startedAt }) =>
        call.id === source.call.id &&
        call.ended === 'answered' &&
        startedAt > source.startedAt &&
        endedAt !== null &&
        endedAt < askedAt,
    )
    this.#must(newer === undefined, `call ${newer?.call.number} is newer than ${source.call.number}`)
  }

  #judgeError({ id, startedAt }: LookupEntry, code: ErrorCode): void {
    this.#mustHaveHappened(id, code, startedAt)
    if (isRefusal(code) || this.#evicts) return
    const usable = this.calls.find(
      (entry) =>
        entry.call.id === id &&
        entry.call.ended === 'answered' &&
        (entry.endedAt as number) < startedAt &&
        this.#now - (entry.endedAt as number) <= 0.9 * this.#freshMs(entry) + staleIfErrorMs &&
        this.#isNewest(entry, startedAt),
    )
    this.#must(usable === undefined, `the answer of call ${usable?.call.number} is better than ${code}`)
  }

  /** Nothing came for the station that could have taken this answer's place, or have kept it out. */
  #isNewest(entry: CallEntry, askedAt: number): boolean {
    return !this.calls.some(
      ({ call, startedAt, endedAt }) =>
        call.id === entry.call.id &&
        call !== entry.call &&
        endedAt !== null &&
        endedAt < askedAt &&
        (startedAt > entry.startedAt || endedAt > (entry.endedAt as number)),
    )
  }

  /** The error is that of a call which ended while the lookup waited, or not long before. */
  #mustHaveHappened(id: string, code: ErrorCode, askedAt: number): void {
    const memoryMs = isRefusal(code) ? emptyTtlMs : LONGEST_BACK_OFF_MS
    const isRemembered = !(NOT_SENT as readonly string[]).includes(code)
    const happened = this.calls.some((entry) => {
      if (entry.call.id !== id) return false
      const inTime = this.#wasInTime(entry)
      const endedAt = inTime ? (entry.endedAt as number) : entry.startedAt + flightTimeoutMs
      if ((inTime ? entry.code : 'UpstreamTimeout') !== code || endedAt > this.#now) return false
      return endedAt >= askedAt || (isRemembered && askedAt - endedAt < memoryMs)
    })
    this.#must(happened, `${code} happened to ${id}`)
  }

  #wasInTime({ startedAt, endedAt }: CallEntry): boolean {
    return endedAt !== null && endedAt < startedAt + flightTimeoutMs
  }

  #freshMs({ empty }: CallEntry): number {
    return empty ? emptyTtlMs : this.#ttlMs
  }

  #count(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1
  }

  /** Kept as well as thrown: what a call throws is an error of upstream's to the cache. */
  #must(holds: boolean, promise: string): void {
    if (holds) return
    this.#broken ??= new Error(promise)
    throw this.#broken
  }
}

function isRefusal(code: ErrorCode): boolean {
  return (REFUSALS as readonly string[]).includes(code)
}

for (const evicts of [false, true]) {
  await t.test(evicts ? 'with room for one station' : 'with room for all', async (t) => {
    const seen: Record<string, number> = {}
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 60, size: 'max' }), async (steps) => {
        const life = new Life({ evicts, seen })
        for (const step of steps) await life.step(step)
        await life.end()
      }),
      { seed: 20_260_115, numRuns: 250, interruptAfterTimeLimit: 40_000 },
    )
    for (const how of [
      'hit',
      'stale',
      'stale_error',
      'miss',
      'coalesced',
      'left',
      ...REFUSALS,
      ...NOT_SENT,
    ]) {
      t.ok((seen[how] ?? 0) > 5, `${how} was seen ${seen[how]} times`)
    }
  })
}
