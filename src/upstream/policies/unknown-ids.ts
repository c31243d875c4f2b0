import { ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { LoadOptions, Policy } from '../../source.ts'
import { UpstreamError } from '../outcomes.ts'
import type { UnknownIdAllowance } from '../pacing/unknown-id-allowance.ts'

export interface UnknownIdPolicyDeps {
  readonly allowance: Pick<UnknownIdAllowance, 'sync' | 'waitMs' | 'charge'>
  readonly observer: Pick<Observer, 'upstreamHeldBack'>
}

/**
 * Limits the part of the quota that calls for made-up ids take. Charged is a call that found no station: an empty answer,
 * 400 or 404. While the allowance is used up, no call is made for an id of which nothing is known; stations with a cached
 * answer are not concerned.
 */
export class UnknownIdPolicy {
  readonly #deps: UnknownIdPolicyDeps

  constructor(deps: UnknownIdPolicyDeps) {
    this.#deps = deps
  }

  /** Whether the allowance would pass such a call now. */
  isAffordable({ isKnown }: LoadOptions): boolean {
    return isKnown || this.#deps.allowance.waitMs() <= 0
  }

  readonly policy: Policy = (next) => async (id, options) => {
    if (options.isKnown) return next(id, options)
    const { allowance, observer } = this.#deps
    await allowance.sync()
    const retryAfterMs = allowance.waitMs()
    if (retryAfterMs > 0) {
      observer.upstreamHeldBack('quota')
      const reason = 'the allowance for unknown ids is used up'
      throw new ServiceError('QuotaExhausted', { reason, retryAfterMs })
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
}

function foundNoStation(error: unknown): boolean {
  return error instanceof UpstreamError && (error.outcome === 'bad_request' || error.outcome === 'not_found')
}
