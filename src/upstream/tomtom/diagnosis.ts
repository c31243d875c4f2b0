import type { UpstreamError } from '../outcomes.ts'

/**
 * The likely cause of a rejection, for the operator. Upstream answers 403 to a wrong key, an exhausted quota and too
 * many calls per second alike, so the body decides first, and then whether this key was accepted before.
 */
export function diagnose({ rejection, upstreamStatus }: UpstreamError, wasAcceptedBefore: boolean): string {
  switch (rejection) {
    case 'over_quota':
      return 'the quota or the credit of the key is used up: set UPSTREAM_QUOTA to what the key allows, or buy more'
    case 'throttled':
      return 'more calls per second than the key allows: lower UPSTREAM_MAX_QPS'
    case 'referer':
      return 'the key is restricted to domains: set UPSTREAM_REFERER to one of them, or use a key without that restriction'
    case 'bad_key':
      return 'the key is not active or not valid for this product: check TOMTOM_API_KEY'
    case 'unclear':
      return unclear(upstreamStatus, wasAcceptedBefore)
  }
}

function unclear(status: number | undefined, wasAcceptedBefore: boolean): string {
  if (!wasAcceptedBefore)
    return 'the key is most likely wrong, or not enabled for this product: check TOMTOM_API_KEY'
  return status === 401
    ? 'the key has worked before, so most likely more calls per second than it allows: lower UPSTREAM_MAX_QPS'
    : 'the key has worked before, so most likely its quota is used up, or it was revoked'
}
