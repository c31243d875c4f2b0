import type { LookupResult } from '../cache/cache.ts'

const CACHE = 'ev-availability-proxy'

/**
 * How the cache came to its answer (RFC 9211): `hit` and `fwd` exclude each other, `ttl` is in whole seconds and
 * negative for an old answer, whose `detail` is the error that it stands in for. No `key`: that is the id.
 */
export function cacheStatus({
  result,
  ttlMs,
  wasExpired: expired,
  isStored: stored,
  staleReason: insteadOf,
}: LookupResult): string {
  const forwarded = expired ? 'fwd=stale' : 'fwd=uri-miss'
  switch (result) {
    case 'hit':
    case 'stale':
      return `${CACHE}; hit; ttl=${Math.floor(ttlMs / 1000)}`
    case 'stale_error':
      return `${CACHE}; hit; ttl=${Math.floor(ttlMs / 1000)}; detail=${insteadOf?.code ?? 'error'}`
    case 'coalesced':
      return `${CACHE}; ${forwarded}; collapsed`
    case 'miss':
      return `${CACHE}; ${forwarded}; fwd-status=200${stored ? '; stored' : ''}`
  }
}
