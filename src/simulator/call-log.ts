import type { Call } from './request.ts'

/** A call as it is remembered: never with the key. */
export interface LoggedCall extends Call {
  /** 1 for the first. */
  readonly number: number
  /** Wall clock, ms. */
  readonly at: number
  /** The `key` parameter was there; which one it was is not told. */
  readonly hadKey: boolean
}

const MOST_REMEMBERED = 1000

/** Counts every call and remembers the last thousand. */
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
    if (this.#recent.length > MOST_REMEMBERED) this.#recent.shift()
  }
}
