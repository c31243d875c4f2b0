import type { Infer } from './schema.ts'
import type { SETTINGS } from './settings.ts'

type Values = Pick<Infer<typeof SETTINGS>, 'admin' | 'cache' | 'drain' | 'public' | 'upstream'>
type Listener = Values['admin']

/** Memory that cached answers take beside their measured bytes: objects, keys and garbage that is not collected yet. */
const HEAP_PER_CACHED_BYTE = 2.5
const LOOPBACK = new Map([['localhost', '127.0.0.1']])

/** A rule between settings. */
interface Rule {
  /** The settings that the rule is about, or the setting to change. */
  readonly subject: string
  readonly expected: string
  /** The settings that it compares, shown as received; without them both of the subject are set. */
  readonly compared: readonly string[]
  readonly isBroken: (values: Values, isSet: (name: string) => boolean) => boolean
  /** What to do, where the settings may come from more than one place. */
  readonly hint?: string
}

/** A default is no contradiction to a setting that was set: UPSTREAM_TIMEOUT=500ms alone is valid. */
const RULES: readonly Rule[] = [
  {
    subject: 'DRAIN_DELAY',
    expected: 'less than DRAIN_TIMEOUT, which includes it',
    compared: ['DRAIN_DELAY', 'DRAIN_TIMEOUT'],
    isBroken: ({ drain }) => drain.delayMs > 0 && drain.delayMs >= drain.timeoutMs,
  },
  {
    subject: 'UPSTREAM_SOFT_TIMEOUT',
    expected: 'less than UPSTREAM_TIMEOUT',
    compared: ['UPSTREAM_SOFT_TIMEOUT', 'UPSTREAM_TIMEOUT'],
    isBroken: ({ upstream }, isSet) =>
      isSet('UPSTREAM_SOFT_TIMEOUT') && upstream.softTimeoutMs >= upstream.timeoutMs,
  },
  {
    subject: 'CACHE_MAX_TTL',
    expected: 'at least CACHE_TTL, which UPSTREAM_QUOTA extends up to it',
    compared: ['CACHE_MAX_TTL', 'CACHE_TTL', 'UPSTREAM_QUOTA'],
    isBroken: ({ cache, upstream }) => upstream.quota !== null && cache.maxTtlMs < cache.ttlMs,
  },
  {
    subject: 'STATE_DIR and REDIS_URL',
    expected: 'one of them',
    compared: [],
    hint: 'docker-compose.yml sets STATE_DIR: an empty STATE_DIR= in .env unsets it',
    isBroken: (_values, isSet) => isSet('STATE_DIR') && (isSet('REDIS_URL') || isSet('REDIS_URL_FILE')),
  },
  {
    subject: 'ADMIN_HOST and ADMIN_PORT',
    expected: 'another address than that of HOST and PORT',
    compared: ['ADMIN_HOST', 'ADMIN_PORT', 'HOST', 'PORT'],
    isBroken: ({ admin, public: open }) => isSameAddress(open, admin),
  },
]

export interface ReadSettings {
  readonly values: Values
  /** The text of a setting: what was set, or its default. */
  readonly textOf: (name: string) => string
  readonly isSet: (name: string) => boolean
  /** Settings whose own value is invalid: no rule that compares one of them is applied. */
  readonly isInvalid: (name: string) => boolean
}

/** The problems of settings that are valid on their own and not together. */
export function contradictions({ values, textOf, isSet, isInvalid }: ReadSettings): string[] {
  const broken = RULES.filter(
    ({ compared, isBroken }) => !compared.some(isInvalid) && isBroken(values, isSet),
  )
  return broken.map(({ subject, expected, compared, hint }) => {
    const received = compared.map((name) => `${name}=${textOf(name)}`).join(', ')
    const problem = `${subject}: expected ${expected}, got ${received === '' ? 'both' : received}`
    return hint === undefined ? problem : `${problem} (${hint})`
  })
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
