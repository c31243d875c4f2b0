import type { Source } from '../../source.ts'
import type { UpstreamRejection } from '../../events.ts'
import { UpstreamError } from '../outcomes.ts'
import { diagnose } from './diagnosis.ts'

/** A made-up id: the response says whether the key is valid, and costs a call like any other. */
const STATION = 'key-check'

/**
 * Makes one call to find out whether upstream rejects the API key. Null if it does not, or if nothing is known: after a
 * timeout, an error of upstream or a sign of an exceeded quota.
 */
export async function checkKey(source: Source): Promise<UpstreamRejection | null> {
  try {
    await source(STATION, { lowPriority: false, hasStale: false, isKnown: true })
    return null
  } catch (error) {
    if (!(error instanceof UpstreamError) || !isKeyRejection(error)) return null
    return { status: error.upstreamStatus, diagnosis: diagnose(error, false), waitMs: 0 }
  }
}

/** `unclear` is the body of a bad key in most cases; after a start it is taken for one. */
function isKeyRejection({ outcome, rejection }: UpstreamError): boolean {
  return outcome === 'refused' && rejection !== 'over_quota' && rejection !== 'throttled'
}
