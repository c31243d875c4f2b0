import { isDeepStrictEqual } from 'node:util'
import { decodeAvailability } from '../availability/decode.ts'
import { powerOf, rowsOf } from '../availability/model.ts'
import type { Availability } from '../availability/model.ts'
import type { Reply, Request, UpstreamClient } from './client.ts'

/** A station's unfiltered answer. */
export interface Full {
  readonly availability: Availability
  readonly reply: Reply
  /** The number of the call. */
  readonly call: number
}

/** What the responses to the requests show, given the full answer. */
type Judge<T> = (
  full: Full,
  replies: readonly Reply[],
) => { readonly result: T; readonly isContradicted: boolean }

const MAX_TRIES = 3

/** The unfiltered answers of the stations, and comparisons with filtered ones. */
export class Stations {
  readonly #client: Pick<UpstreamClient, 'ask' | 'calls'>
  readonly #latest = new Map<string, Full>()
  readonly #unsteady = new Set<string>()
  readonly #compared = new Set<string>()
  /** Every good answer, in order. */
  readonly fulls: Full[] = []
  /** The response to the last request for a full answer. */
  lastReply: Reply | null = null

  constructor(client: Pick<UpstreamClient, 'ask' | 'calls'>) {
    this.#client = client
  }

  /** The latest answers with connectors, of stations whose connectors stayed the same. */
  get usable(): Availability[] {
    return [...this.#latest]
      .filter(([id, { availability }]) => !this.#unsteady.has(id) && availability.connectors.length > 0)
      .map(([, { availability }]) => availability)
  }

  /** Stations whose connectors, powers or totals changed: two versions of the data are served by turns. */
  get unsteady(): ReadonlySet<string> {
    return this.#unsteady
  }

  /** The labels of the requests that were compared with full answers. */
  get compared(): ReadonlySet<string> {
    return this.#compared
  }

  /** Asks for a station's unfiltered answer; null if the response is none. */
  async full(id: string, more: Partial<Request> = {}): Promise<Full | null> {
    const reply = await this.#client.ask({ label: 'full', query: queryOf(id), ...more })
    this.lastReply = reply
    const availability = answerIn(reply, id)
    if (availability === null) return null
    const full = { availability, reply, call: this.#client.calls }
    const before = this.#latest.get(id)
    if (before !== undefined && !isDeepStrictEqual(structureOf(before), structureOf(full)))
      this.#unsteady.add(id)
    this.#latest.set(id, full)
    this.fulls.push(full)
    return full
  }

  /**
   * Asks for the full answer, the requests, and the full answer again, and judges the responses if both full answers are
   * equal; else it tries again. Two versions of the data by turns would give equal full answers all the same, so a
   * contradiction counts only if it repeats one call later.
   * @returns null after three tries
   */
  async compare<T>(id: string, requests: readonly Request[], judge: Judge<T>): Promise<T | null> {
    for (const { label } of requests) this.#compared.add(label)
    for (let tries = 0; tries < MAX_TRIES && !this.#unsteady.has(id); tries++) {
      const first = await this.#ask(id, requests, judge)
      if (first === null) continue
      if (!first.isContradicted) return first.result
      await this.full(id)
      if (this.#unsteady.has(id)) break
      const second = await this.#ask(id, requests, judge)
      if (second?.isContradicted === true) return second.result
    }
    return null
  }

  /** One comparison; null if the full answers differ, or a response says nothing. */
  async #ask<T>(
    id: string,
    requests: readonly Request[],
    judge: Judge<T>,
  ): Promise<ReturnType<Judge<T>> | null> {
    const before = this.#justAsked(id) ?? (await this.full(id))
    const replies: Reply[] = []
    for (const request of requests) replies.push(await this.#client.ask(request))
    const after = await this.full(id)
    return isSame(before, after) && !replies.some(hasFailed) ? judge(after as Full, replies) : null
  }

  #justAsked(id: string): Full | null {
    const full = this.#latest.get(id)
    return full?.call === this.#client.calls ? full : null
  }
}

/** The query for a station, and for a filter if there is one. */
export function queryOf(id: string, filter = ''): string {
  return `chargingAvailability=${encodeURIComponent(id)}${filter === '' ? '' : `&${filter}`}`
}

function isSame(a: Full | null, b: Full | null): boolean {
  return a !== null && b !== null && isDeepStrictEqual(a.availability, b.availability)
}

/** The answer in a response; null if there is none for this station. */
export function answerIn({ status, text }: Reply, id: string): Availability | null {
  if (status !== 200) return null
  try {
    return decodeAvailability(text, id)
  } catch {
    return null
  }
}

/** Not a response of the endpoint: nothing follows from it. */
function hasFailed({ status }: Reply): boolean {
  return status === null || status >= 500
}

/** What stays the same while the occupancy changes. */
function structureOf({ availability }: Full): unknown {
  return availability.connectors.map((one) => [one.type, one.total, rowsOf(one).map(powerOf)])
}
