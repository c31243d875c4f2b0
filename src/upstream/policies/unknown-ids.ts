import { UnknownIdError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { LoadOptions, Policy } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import { RejectedIds } from './rejected-ids.ts'
import { UpstreamError } from '../outcomes.ts'
import type { UnknownIdAllowance } from '../pacing/unknown-id-allowance.ts'

export interface UnknownIdPolicyDeps {
  readonly allowance: Pick<UnknownIdAllowance, 'sync' | 'waitMs' | 'charge'>
  readonly observer: Pick<Observer, 'upstreamHeldBack'>
  readonly clock: Pick<Clock, 'now'>
}

/** For an id that is asked for again, one call may be taken before it is refilled. */
const IN_ADVANCE = 1

/**
 * Limits the part of the quota that calls for made-up ids take. Charged is a call that found no station: an empty answer,
 * 400 or 404. While the allowance is used up, no call is made for an id of which nothing is known; stations with a cached
 * answer are not concerned. An id that is asked for again, a minute or more after it was rejected, is likely a station: one
 * call in advance is enough for all of them, because those that exist cost nothing.
 */
export class UnknownIdPolicy {
  readonly #deps: UnknownIdPolicyDeps
  readonly #rejected: RejectedIds

  constructor(deps: UnknownIdPolicyDeps) {
    this.#deps = deps
    this.#rejected = new RejectedIds(deps.clock)
  }

  /** Whether the allowance would pass such a call now. */
  isAffordable({ isKnown }: LoadOptions, id: string): boolean {
    return isKnown || this.#waitMs(id) <= 0
  }

  readonly policy: Policy = (next) => async (id, options) => {
    if (options.isKnown) return next(id, options)
    const { allowance, observer } = this.#deps
    await allowance.sync()
    const retryAfterMs = this.#waitMs(id)
    if (retryAfterMs > 0) {
      this.#rejected.add(id)
      observer.upstreamHeldBack('quota')
      throw new UnknownIdError(retryAfterMs)
    }
    try {
      const availability = await next(id, options)
      if (availability.connectors.length === 0) allowance.charge()
      return availability
    } catch (error) {
      if (foundNoStation(error)) allowance.charge()
      throw error
    }
  }

  #waitMs(id: string): number {
    return this.#deps.allowance.waitMs(this.#rejected.isAskedAgain(id) ? IN_ADVANCE : 0)
  }
}

function foundNoStation(error: unknown): boolean {
  return error instanceof UpstreamError && (error.outcome === 'bad_request' || error.outcome === 'not_found')
}
