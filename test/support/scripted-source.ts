import type { Availability, Connector } from '../../src/availability/model.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { ServiceError } from '../../src/errors.ts'
import type { LoadOptions, Source } from '../../src/source.ts'
import { settled } from './clock.ts'
import { connector, level } from './stations.ts'

/** A call that has reached the source. It waits at a barrier until the test ends it. */
export class ScriptedCall {
  /** 1 for the first call of the source. */
  readonly number: number
  readonly id: string
  readonly options: LoadOptions
  /** When the call was made, on the source's clock. */
  readonly at: number
  readonly result: Promise<Availability>
  ended: 'answered' | 'failed' | null = null
  #resolve!: (availability: Availability) => void
  #reject!: (error: unknown) => void

  constructor(number: number, id: string, options: LoadOptions, at: number) {
    this.number = number
    this.id = id
    this.options = options
    this.at = at
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Answers with these connectors; the member `call` of the body is the call's number. */
  answer(connectors: readonly Connector[] = [connector('Type2', level(22))]): void {
    this.answerWith({ connectors, chargingAvailability: this.id, call: this.number })
  }

  /** Answers as upstream does for an unknown id. */
  answerEmpty(): void {
    this.answer([])
  }

  /** Answers with exactly this body. */
  answerWith(availability: Availability): void {
    this.ended = 'answered'
    this.#resolve(availability)
  }

  /** @param error a ServiceError's code, or anything to reject with */
  fail(error: unknown = 'UpstreamFailed'): void {
    this.ended = 'failed'
    this.#reject(typeof error === 'string' ? new ServiceError(error as ErrorCode) : error)
  }

  /** `answer`, and waits until every reaction to it has settled. */
  answerAndSettle(connectors?: readonly Connector[]): Promise<void> {
    this.answer(connectors)
    return settled()
  }

  failAndSettle(error?: unknown): Promise<void> {
    this.fail(error)
    return settled()
  }
}

/** A Source under a test's control: it records each call and holds it, or ends all calls in the same way. */
export class ScriptedSource {
  readonly calls: ScriptedCall[] = []
  /** Called with each new call; null holds calls at their barrier. What it throws, the source throws. */
  always: ((call: ScriptedCall) => void) | null = null
  readonly #now: () => number
  readonly #reached: { readonly number: number; readonly resolve: (call: ScriptedCall) => void }[] = []

  /** @param now the clock of the calls' timestamps */
  constructor(now: () => number = () => 0) {
    this.#now = now
  }

  readonly load: Source = (id, options) => {
    const call = new ScriptedCall(this.calls.length + 1, id, options, this.#now())
    this.calls.push(call)
    for (const { number, resolve } of this.#reached) if (number === call.number) resolve(call)
    this.always?.(call)
    return call.result
  }

  /** The latest call. */
  get last(): ScriptedCall {
    return this.call(this.calls.length)
  }

  call(number: number): ScriptedCall {
    const call = this.calls[number - 1]
    if (call === undefined) throw new Error(`there is no call ${number}`)
    return call
  }

  /** The number of calls made for a station. */
  callsFor(id: string): number {
    return this.calls.filter((call) => call.id === id).length
  }

  /** Resolves once call `number` has been made. */
  reached(number: number): Promise<ScriptedCall> {
    const call = this.calls[number - 1]
    if (call !== undefined) return Promise.resolve(call)
    return new Promise((resolve) => {
      this.#reached.push({ number, resolve })
    })
  }

  /** From now on every call is answered at once. */
  answerAll(): void {
    this.always = (call) => call.answer()
  }

  /** From now on every call is answered at once, as for an unknown id. */
  answerAllEmpty(): void {
    this.always = (call) => call.answerEmpty()
  }

  /** From now on every call fails at once; see ScriptedCall.fail. */
  failAll(error: unknown = 'UpstreamFailed'): void {
    this.always = (call) => call.fail(error)
  }

  /** From now on calls wait at their barrier again. */
  holdAll(): void {
    this.always = null
  }
}
