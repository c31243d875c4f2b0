import type { Call } from './request.ts'

/** A logged call, without the value of its key. */
export interface LoggedCall extends Call {
  /** 1 for the first. */
  readonly number: number
  /** Wall clock, ms. */
  readonly at: number
  /** Whether there was a `key` parameter. */
  readonly hadKey: boolean
}

const MAX_CALLS_KEPT = 1000

/** Counts every call and keeps the last thousand. */
export class CallLog {
  #count = 0
  readonly #recent: LoggedCall[] = []

  get count(): number {
    return this.#count
  }

  /** The oldest first. */
  get recent(): readonly LoggedCall[] {
    return this.#recent
  }

  add(call: Call, at: number): void {
    const parameters = new URLSearchParams(call.parameters)
    parameters.delete('key')
    const hadKey = call.parameters.has('key')
    this.#recent.push({ ...call, parameters, number: ++this.#count, at, hadKey })
    if (this.#recent.length > MAX_CALLS_KEPT) this.#recent.shift()
  }
}
