import type { Infer } from './schema.ts'
import type { SETTINGS } from './settings.ts'

type Values = Pick<Infer<typeof SETTINGS>, 'admin' | 'cache' | 'drain' | 'public' | 'upstream'>
type Listener = Values['admin']

/** Memory that cached answers take beside their measured bytes: objects, keys and garbage that is not collected yet. */
const HEAP_PER_CACHED_BYTE = 2.5
const LOOPBACK = new Map([['localhost', '127.0.0.1']])

/**
 * Settings that are valid on their own and not together. A default is no contradiction to a setting that was set:
 * UPSTREAM_TIMEOUT=500ms alone is valid, although the default of UPSTREAM_SOFT_TIMEOUT is longer.
 */
export function contradictions(
  { admin, cache, drain, public: open, upstream }: Values,
  isSet: (name: string) => boolean,
): string[] {
  const problems: string[] = []
  if (drain.delayMs > 0 && drain.delayMs >= drain.timeoutMs) {
    problems.push('DRAIN_DELAY: expected less than DRAIN_TIMEOUT, which includes it')
  }
  if (isSet('UPSTREAM_SOFT_TIMEOUT') && upstream.softTimeoutMs >= upstream.timeoutMs) {
    problems.push('UPSTREAM_SOFT_TIMEOUT: expected less than UPSTREAM_TIMEOUT')
  }
  if (upstream.quota !== null && cache.maxTtlMs < cache.ttlMs) {
    problems.push('CACHE_MAX_TTL: expected at least CACHE_TTL, which UPSTREAM_QUOTA extends up to it')
  }
  if (isSet('STATE_DIR') && (isSet('REDIS_URL') || isSet('REDIS_URL_FILE'))) {
    problems.push('STATE_DIR and REDIS_URL: both are set; unset one of them')
  }
  if (isSameAddress(open, admin)) {
    problems.push('ADMIN_HOST and ADMIN_PORT: expected another address than that of HOST and PORT')
  }
  return problems
}

/** Whether the second of two listeners would find its address in use. Port 0 is another one for each. */
function isSameAddress(one: Listener, other: Listener): boolean {
  if (one.port !== other.port || one.port === 0) return false
  const [first, second] = [one, other].map(({ host }) => LOOPBACK.get(host.toLowerCase()) ?? host)
  return first === second || includesAddress(first, second) || includesAddress(second, first)
}

function includesAddress(host: string | undefined, address: string | undefined): boolean {
  return host === '::' || (host === '0.0.0.0' && address?.includes(':') === false)
}

function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)}MB`
}

/** A warning if a full cache would not fit into V8's heap; null if it fits. */
export function heapWarning({ cache }: Pick<Values, 'cache'>, heapLimitBytes: number): string | null {
  if (cache.maxBytes * HEAP_PER_CACHED_BYTE <= heapLimitBytes) return null
  const largest = megabytes(heapLimitBytes / HEAP_PER_CACHED_BYTE)
  return `CACHE_MAX_BYTES is too large for the heap limit of ${megabytes(heapLimitBytes)}: at most ${largest} fits`
}
