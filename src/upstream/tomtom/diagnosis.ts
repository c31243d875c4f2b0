import type { UpstreamError } from '../outcomes.ts'

/**
 * What most likely stands behind a refusal, for the operator. Upstream says 403 for a wrong key, for a quota
 * that is used up and for too many calls a second alike, so its body counts first, and then whether this very
 * key has worked before.
 */
export function diagnose(
  { rejection: refusal, upstreamStatus }: UpstreamError,
  hasWorkedBefore: boolean,
): string {
  switch (refusal) {
    case 'over_quota':
      return 'the quota or the credit of the key is used up: set UPSTREAM_QUOTA to what the key allows, or buy more'
    case 'throttled':
      return 'more calls a second than the key allows: lower UPSTREAM_MAX_QPS'
    case 'referer':
      return 'the key only accepts calls from web pages of listed domains: use a key without a domain whitelist'
    case 'bad_key':
      return 'the key is not active or not valid for this product: check TOMTOM_API_KEY'
    case 'unclear':
      return unclear(upstreamStatus, hasWorkedBefore)
  }
}

function unclear(status: number | undefined, hasWorkedBefore: boolean): string {
  if (!hasWorkedBefore)
    return 'the key is most likely wrong, or not enabled for this product: check TOMTOM_API_KEY'
  return status === 401
    ? 'the key has worked before, so most likely more calls a second than it allows: lower UPSTREAM_MAX_QPS'
    : 'the key has worked before, so most likely its quota is used up, or it was revoked'
}
