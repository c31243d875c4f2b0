import * as fc from 'fast-check'
import t from 'tap'
import { EMPTIES_TO_BELIEVE } from '../../src/cache/empty-doubt.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { settled } from '../support/clock.ts'
import type { ScriptedCall } from '../support/scripted-source.ts'
import type { Context, Lookup, Outcome } from './setup.ts'
import { setup, startLookup, TIMES } from './setup.ts'

/*
 * Random sequences of lookups, answers, errors and delays, checked by an oracle after every step. The oracle records the
 * calls and the lookups, and knows nothing of entries, in-flight calls or negative entries.
 */

const { ttlMs, emptyTtlMs, staleWhileRevalidateMs, staleIfErrorMs, flightTimeoutMs } = TIMES
const MAX_BACK_OFF_MS = 10_000
const IDS = ['a', 'b', 'c'] as const
const FAILURES = ['UpstreamFailed', 'UpstreamTimeout', 'InternalError', 'a bug'] as const
const NOT_SENT = ['TooManyRequests', 'UpstreamRefused', 'UpstreamUnavailable', 'QuotaExhausted'] as const
const NEGATIVE = ['InvalidParameter', 'NotFound'] as const

/** Numbers choose among what there is at that moment; `quick` leaves promises no time to settle. */
const anyStep = fc.record({
  quick: fc.boolean(),
  does: fc.oneof(
    { weight: 8, arbitrary: fc.record({ join: fc.constantFrom(...IDS) }) },
    { weight: 2, arbitrary: fc.record({ disconnect: fc.nat({ max: 9 }) }) },
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
      arbitrary: fc.record({ fail: fc.nat({ max: 9 }), code: fc.constantFrom(...NEGATIVE) }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        pass: fc.constantFrom(1, 799, 800, 1_000, 3_999, 4_000, 10_000, 27_000, 30_001, 60_001, 330_001),
      }),
    },
    { weight: 1, arbitrary: fc.record({ jumpHours: fc.constantFrom(-1, 1, 24) }) },
    { weight: 1, arbitrary: fc.record({ extendTtlTo: fc.constantFrom(null, 30_000, 90_000, 300_000) }) },
  ),
})
type Step = typeof anyStep extends fc.Arbitrary<infer S> ? S : never

interface RecordedCall {
  readonly call: ScriptedCall
  readonly startedAt: number
  endedAt: number | null
  empty: boolean
  code: ErrorCode | null
}

interface RecordedLookup {
  readonly id: string
  readonly lookup: Lookup
  readonly startedAt: number
  /** The TTL in force at that moment. */
  readonly ttlMs: number
  disconnected: boolean
  checked: boolean
}

/** One sequence of steps, with the record that its outcomes are checked against. */
class Run {
  readonly ctx: Context
  readonly calls: RecordedCall[] = []
  readonly lookups: RecordedLookup[] = []
  /** Outcomes by kind, to prove that the runs covered all of them. */
  readonly seen: Record<string, number>
  readonly #evicts: boolean
  #ttlMs: number = ttlMs
  #broken: Error | null = null

  constructor({ evicts, seen }: { evicts: boolean; seen: Record<string, number> }) {
    let jitter = 0
    const random = () => (jitter = (jitter + 0.37) % 1)
    this.ctx = setup({ maxTtlMs: 0, ...(evicts && { maxEntries: 1 }) }, { random, isPaced: true })
    this.ctx.source.always = (call) => this.#onCall(call)
    this.seen = seen
    this.#evicts = evicts
  }

  get #now(): number {
    return this.ctx.clock.now()
  }

  async step({ does, quick }: Step): Promise<void> {
    if ('join' in does) this.#join(does.join)
    else if ('disconnect' in does) this.#disconnect(does.disconnect)
    else if ('answer' in does) this.#answer(does.answer, does.empty)
    else if ('fail' in does) this.#fail(does.fail, does.code)
    else if ('pass' in does) await this.#pass(does.pass)
    else if ('jumpHours' in does) this.ctx.clock.setWall(this.ctx.clock.wall() + does.jumpHours * 3_600_000)
    else await this.#extendTtl(does.extendTtlTo)
    if (!quick) await this.#check()
  }

  /** Lets every call end or reach its deadline. */
  async end(): Promise<void> {
    await this.#pass(flightTimeoutMs)
    await this.#check()
    this.#must(this.ctx.cache.inFlightCalls === 0, 'no call is left in flight')
    this.#must(this.ctx.clock.pending === 0, 'no timer is left')
    this.#must(
      this.lookups.every(({ checked }) => checked),
      'every lookup ends',
    )
    this.#must(this.ctx.cache.lookups === this.lookups.length, 'every lookup is counted')
    this.#must(this.ctx.events.length === this.lookups.length, 'every lookup is reported once')
    // Answers after the deadline have no effect on calls and timers.
    for (const { call } of this.calls) if (call.ended === null) this.#settle(call, () => call.answer())
    await settled()
    this.#must(
      this.ctx.cache.inFlightCalls === 0 && this.ctx.clock.pending === 0,
      'a late answer starts nothing',
    )
  }

  #join(id: string): void {
    const lookup = startLookup(this.ctx, id)
    const ended = { disconnected: false, checked: false }
    this.lookups.push({ id, lookup, startedAt: this.#now, ttlMs: this.#ttlMs, ...ended })
  }

  #disconnect(choice: number): void {
    const waiting = this.lookups.filter(({ lookup, disconnected }) => lookup.ended === null && !disconnected)
    const entry = waiting[choice % (waiting.length || 1)]
    if (entry === undefined) return
    entry.disconnected = true
    entry.lookup.disconnect()
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

  /** A call that has not ended, in time or past its deadline. */
  #open(choice: number): RecordedCall | undefined {
    const open = this.calls.filter(({ call }) => call.ended === null)
    return open[choice % (open.length || 1)]
  }

  #settle(call: ScriptedCall, end: () => void): void {
    const entry = this.calls[call.number - 1] as RecordedCall
    entry.endedAt = this.#now
    end()
  }

  /** Stops at each deadline, so that every lookup is checked at the moment of its end. */
  async #pass(ms: number): Promise<void> {
    await this.#check()
    const end = this.#now + ms
    const moments = [
      ...this.calls.map(({ startedAt }) => startedAt + flightTimeoutMs),
      ...this.lookups.map(({ startedAt }) => startedAt + TIMES.softTimeoutMs),
    ]
    for (const at of [...moments.filter((at) => at > this.#now && at < end), end].toSorted((a, b) => a - b)) {
      await this.ctx.clock.advance(at - this.#now)
      await this.#check()
    }
  }

  async #extendTtl(toMs: number | null): Promise<void> {
    await this.#check()
    this.#ttlMs = toMs ?? ttlMs
    this.ctx.extendTtlTo(toMs)
  }

  /** Called by the cache, at the moment at which it calls upstream. */
  #onCall(call: ScriptedCall): void {
    const others = this.calls.filter((other) => other.call.id === call.id && this.#isInFlight(other))
    this.#must(others.length === 0, `call ${call.number} begins while none is in flight for ${call.id}`)
    this.#must(
      !this.#hasNegative(call.id),
      `call ${call.number} begins while ${call.id} has no negative entry`,
    )
    this.calls.push({ call, startedAt: this.#now, endedAt: null, empty: false, code: null })
  }

  #isInFlight({ call, startedAt }: RecordedCall): boolean {
    return call.ended === null && this.#now < startedAt + flightTimeoutMs
  }

  /** The last call of this id ended in a 400 or 404, within the TTL of negative entries. */
  #hasNegative(id: string): boolean {
    const last = this.calls.findLast(({ call }) => call.id === id)
    return (
      last !== undefined &&
      (NEGATIVE as readonly (ErrorCode | null)[]).includes(last.code) &&
      this.#wasInTime(last) &&
      this.#now < (last.endedAt as number) + emptyTtlMs
    )
  }

  async #check(): Promise<void> {
    await settled()
    if (this.#broken !== null) throw this.#broken
    for (const entry of this.lookups) {
      const { lookup, checked } = entry
      if (checked || lookup.ended === null) continue
      entry.checked = true
      const outcome = lookup.ended
      this.#count('result' in outcome ? outcome.result : outcome.error)
      if ('result' in outcome) this.#checkAnswer(entry, outcome)
      else if (outcome.error === 'disconnected')
        this.#must(entry.disconnected, 'only its own client ends a wait')
      else this.#checkError(entry, outcome.error as ErrorCode)
    }
  }

  #checkAnswer(
    { id, startedAt, ttlMs }: RecordedLookup,
    outcome: Extract<Outcome, { result: string }>,
  ): void {
    const source = this.calls[outcome.call - 1] as RecordedCall
    const receivedAt = source.endedAt
    this.#must(source.call.id === id, `${id} gets its own station's answer`)
    this.#must(source.call.ended === 'answered' && receivedAt !== null, 'the body was an answer')
    const ageMs = this.#now - (receivedAt as number)
    this.#must(outcome.ageMs === ageMs, `the age is ${ageMs}, not ${outcome.ageMs}`)
    const freshMs = this.#freshMs(source)
    const staleMs = Math.max(staleWhileRevalidateMs, staleIfErrorMs)
    switch (outcome.result) {
      case 'hit':
        return this.#must(ageMs <= freshMs, `a hit of ${ageMs} ms is fresh`)
      case 'stale':
        this.#must(ageMs <= freshMs + staleMs, `${ageMs} ms is not expired`)
        this.#must(
          ageMs > 0.9 * Math.min(freshMs, this.#freshMs(source, ttlMs)) ||
            this.#newerThan(source, this.#now + 1).length > 0,
          `${ageMs} ms is stale`,
        )
        return this.#mustBeNewest(source, startedAt)
      case 'stale_error': {
        this.#must(ageMs <= freshMs + staleMs, `${ageMs} ms is not expired`)
        const { staleReason } = outcome
        this.#must(staleReason !== null && !isNegative(staleReason), `${staleReason} may be replaced`)
        this.#mustHaveHappened(id, staleReason as ErrorCode, startedAt)
        return this.#mustBeNewest(source, startedAt)
      }
      case 'miss':
      case 'coalesced':
        this.#must(ageMs === 0, 'a waiter gets the answer at once')
        this.#must((receivedAt as number) >= startedAt, 'it arrived while the lookup waited')
        return this.#must(this.#wasInTime(source), 'no lookup gets an answer after the deadline')
    }
  }

  /** No answer of a later call was in the cache, unless it was evicted, or is one of two empty ones in doubt. */
  #mustBeNewest(source: RecordedCall, askedAt: number): void {
    if (this.#evicts) return
    const newer = this.#newerThan(source, askedAt).filter((entry) => !this.#isOutdated(entry))
    const inDoubt = !source.empty && newer.every(({ empty }) => empty) && newer.length < EMPTIES_TO_BELIEVE
    this.#must(
      newer.length === 0 || inDoubt,
      `call ${newer[0]?.call.number} is newer than ${source.call.number}`,
    )
  }

  /** An answer after the deadline need not be stored once a later call has ended. */
  #isOutdated(entry: RecordedCall): boolean {
    const { call, startedAt, endedAt } = entry
    return (
      !this.#wasInTime(entry) &&
      this.calls.some(
        (other) =>
          other.call.id === call.id &&
          other.startedAt > startedAt &&
          other.endedAt !== null &&
          other.endedAt <= Number(endedAt),
      )
    )
  }

  #newerThan(source: RecordedCall, before: number): RecordedCall[] {
    return this.calls.filter(
      ({ call, endedAt, startedAt }) =>
        call.id === source.call.id &&
        call.ended === 'answered' &&
        startedAt > source.startedAt &&
        endedAt !== null &&
        endedAt < before,
    )
  }

  #checkError({ id, startedAt }: RecordedLookup, code: ErrorCode): void {
    this.#mustHaveHappened(id, code, startedAt)
    if (isNegative(code) || this.#evicts) return
    const usable = this.calls.find(
      (entry) =>
        entry.call.id === id &&
        entry.call.ended === 'answered' &&
        !this.#mayBeInDoubt(entry) &&
        (entry.endedAt as number) < startedAt &&
        this.#now - (entry.endedAt as number) <= 0.9 * this.#freshMs(entry) + staleIfErrorMs &&
        this.#isNewest(entry, startedAt),
    )
    this.#must(usable === undefined, `the answer of call ${usable?.call.number} is better than ${code}`)
  }

  /** An empty answer soon after one with connectors is not stored. */
  #mayBeInDoubt({ call: { id }, empty, startedAt }: RecordedCall): boolean {
    return (
      empty && this.calls.some((other) => other.call.id === id && !other.empty && other.startedAt < startedAt)
    )
  }

  /** No other call of the station could have replaced this answer, or kept it from being stored. */
  #isNewest(entry: RecordedCall, askedAt: number): boolean {
    return !this.calls.some(
      ({ call, startedAt, endedAt }) =>
        call.id === entry.call.id &&
        call !== entry.call &&
        endedAt !== null &&
        endedAt < askedAt &&
        (startedAt > entry.startedAt || endedAt > (entry.endedAt as number)),
    )
  }

  /** The error is that of a call that ended while the lookup waited, or whose negative entry or back-off was in force. */
  #mustHaveHappened(id: string, code: ErrorCode, askedAt: number): void {
    const inForceMs = isNegative(code) ? emptyTtlMs : MAX_BACK_OFF_MS
    const isCached = !(NOT_SENT as readonly string[]).includes(code)
    const happened = this.calls.some((entry) => {
      if (entry.call.id !== id) return false
      const inTime = this.#wasInTime(entry)
      const endedAt = inTime ? (entry.endedAt as number) : entry.startedAt + flightTimeoutMs
      if ((inTime ? entry.code : 'UpstreamTimeout') !== code || endedAt > this.#now) return false
      return endedAt >= askedAt || (isCached && askedAt - endedAt < inForceMs)
    })
    this.#must(happened, `${code} happened to ${id}`)
  }

  #wasInTime({ startedAt, endedAt }: RecordedCall): boolean {
    return endedAt !== null && endedAt < startedAt + flightTimeoutMs
  }

  #freshMs({ empty }: RecordedCall, ttlMs = this.#ttlMs): number {
    return empty ? emptyTtlMs : ttlMs
  }

  #count(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1
  }

  /** Stored as well as thrown: the cache treats what the source throws as an error of the call. */
  #must(holds: boolean, invariant: string): void {
    if (holds) return
    this.#broken ??= new Error(invariant)
    throw this.#broken
  }
}

function isNegative(code: ErrorCode): boolean {
  return (NEGATIVE as readonly string[]).includes(code)
}

for (const evicts of [false, true]) {
  await t.test(
    evicts
      ? 'random runs with one entry hold the invariants'
      : 'random runs without eviction hold the invariants',
    async (t) => {
      const seen: Record<string, number> = {}
      await fc.assert(
        fc.asyncProperty(fc.array(anyStep, { maxLength: 60, size: 'max' }), async (steps) => {
          const run = new Run({ evicts, seen })
          for (const step of steps) await run.step(step)
          await run.end()
        }),
        { seed: 20_260_115, numRuns: 250, interruptAfterTimeLimit: 40_000 },
      )
      const expected = [
        'hit',
        'stale',
        'stale_error',
        'miss',
        'coalesced',
        'disconnected',
        ...NEGATIVE,
        ...NOT_SENT,
      ]
      t.strictSame(
        expected.filter((kind) => (seen[kind] ?? 0) <= 5),
        [],
        'every outcome was seen more than 5 times',
      )
    },
  )
}
