import { clientKeys, validateClients } from './client-keys.ts'
import { redisUrl, validateRedisUrl } from './redis-url.ts'
import { secret, validateKey } from './secrets.ts'
import { optional, setting, valueOrFile } from './schema.ts'
import * as types from './types.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const { count, duration, flag, oneOf, size } = types

/**
 * Every setting, declared once. The members are those of `Config`; names, defaults and descriptions are also the
 * source of docs/configuration.md and .env.example (`npm run docs:settings`).
 */
// prettier-ignore
export const SETTINGS = {
  apiKey: valueOrFile({
    value: optional('TOMTOM_API_KEY', secret, 'put-your-own-tomtom-key-here',
      'TomTom API key. Either this or TOMTOM_API_KEY_FILE is required.'),
    file: optional('TOMTOM_API_KEY_FILE', types.path, '/run/secrets/tomtom_api_key',
      'Path of a file that contains the API key, such as a Docker or Kubernetes secret; reloaded when it changes.'),
    validate: validateKey,
    isRequired: true,
  }),
  upstream: {
    baseUrl: setting('TOMTOM_BASE_URL', types.baseUrl, 'https://api.tomtom.com',
      'Base URL of the upstream API; with a path if an API gateway in front of TomTom needs one.'),
    referer: optional('UPSTREAM_REFERER', types.referer, 'https://www.example.com/',
      'Value of the `Referer` header of every call, for an API key that is restricted to a domain.'),
    timeoutMs: setting('UPSTREAM_TIMEOUT', duration(10, 5 * MINUTE), '3s',
      'Total timeout of a call, its retry included.'),
    softTimeoutMs: setting('UPSTREAM_SOFT_TIMEOUT', duration(0, 5 * MINUTE), '800ms',
      'How long a request waits for upstream before it gets a stale answer, if there is one.'),
    maxConnections: setting('UPSTREAM_MAX_CONNECTIONS', count(1, 1_000), '16',
      'Maximum number of connections to upstream.'),
    perSecond: setting('UPSTREAM_MAX_QPS', types.rate, '5',
      'Maximum number of calls per second; `0` means no limit.'),
    queueTimeoutMs: setting('UPSTREAM_QUEUE_TIMEOUT', duration(0, MINUTE), '1s',
      'Maximum wait of a call for its turn under UPSTREAM_MAX_QPS.'),
    quota: optional('UPSTREAM_QUOTA', types.quota, '2500/month',
      'Maximum number of calls per UTC day or month, such as `2500/month` or `2500/day`; pacing makes them last until the reset.'),
    limitShare: setting('UPSTREAM_LIMIT_SHARE', types.share, '1/1',
      "This replica's share of UPSTREAM_MAX_QPS and UPSTREAM_QUOTA while nothing is shared: Redis or STATE_DIR is not set or does not work; `1/3` for one of three replicas."),
  },
  checkKeyAtStart: setting('CHECK_KEY_AT_START', flag, 'false',
    'Whether one call is made before the process becomes ready: a key that upstream rejects keeps it unready, so that a deployment does not replace its last good process. A timeout, an error of upstream or an exceeded quota does not.'),
  settingsFile: optional('SETTINGS_FILE', types.path, '/etc/ev-availability-proxy/settings',
    'Path of a file of `NAME=value` lines that override CACHE_TTL, CACHE_MAX_TTL, CACHE_STALE_IF_ERROR, UPSTREAM_MAX_QPS, UPSTREAM_QUOTA and LOG_LEVEL; reloaded when it changes.'),
  cache: {
    ttlMs: setting('CACHE_TTL', duration(0, DAY), '30s',
      'How long an answer is fresh; `0` disables caching but still coalesces concurrent requests.'),
    staleWhileRevalidateMs: setting('CACHE_STALE_WHILE_REVALIDATE', duration(0, DAY), '30s',
      'How long after the TTL a stale answer is served at once while one refresh runs.'),
    staleIfErrorMs: setting('CACHE_STALE_IF_ERROR', duration(0, DAY), '5m',
      'How long after the TTL a stale answer is served instead of an error.'),
    emptyTtlMs: setting('CACHE_EMPTY_TTL', duration(0, DAY), '60s',
      'TTL of an answer without connectors, and of a 400 or 404 from upstream.'),
    maxTtlMs: setting('CACHE_MAX_TTL', duration(0, 31 * DAY), '24h',
      'Upper bound for the TTL when quota pacing extends it.'),
    maxEntries: setting('CACHE_MAX_ENTRIES', count(1, 10_000_000), '100000',
      'Maximum number of cached stations.'),
    maxBytes: setting('CACHE_MAX_BYTES', size(2 ** 10, 64 * 2 ** 30), '256MB',
      'Maximum memory for cached answers and their renderings.'),
    powerFilter: setting('POWER_FILTER', oneOf('recount', 'levels', 'connectors'), 'recount',
      'How a power bound filters: `recount` keeps the rows within the range and recomputes `current` and `total`; `levels` keeps these rows and the counts as they are; `connectors` keeps a connector with such a row as it is.'),
  },
  redis: valueOrFile({
    value: optional('REDIS_URL', redisUrl, 'redis://127.0.0.1:6379',
      'Redis or Valkey through which replicas share answers, in-flight calls, limits and quota. While it is not reachable, each replica works on its own.'),
    file: optional('REDIS_URL_FILE', types.path, '/run/secrets/redis_url',
      'Path of a file that contains the value of REDIS_URL; read once, at the start.'),
    validate: validateRedisUrl,
    isRequired: false,
  }),
  stateDir: optional('STATE_DIR', types.directory, '/var/lib/ev-availability-proxy',
    'Directory on a local disk for the state that outlives the process: quota, answers, limits. Processes of one machine share it. Not together with REDIS_URL.'),
  public: {
    host: setting('HOST', types.host, '::',
      'Address of the public listener; `::` is every IPv6 and IPv4 address, or every IPv4 address if the machine has no IPv6.'),
    port: setting('PORT', types.port, '8080',
      'Port of the public listener.'),
    basePath: optional('BASE_PATH', types.basePath, '/ev',
      'Prefix of all routes of the public listener, for an ingress that does not strip it. `/healthz` answers with and without it.'),
    corsOrigins: setting('CORS_ORIGINS', types.origins, '*',
      'Origins whose pages may use the API: `*`, or a comma-separated list; listed origins may send credentials.'),
    docs: setting('DOCS', flag, 'true',
      'Whether `/docs` on the public listener serves the API reference.'),
  },
  live: {
    maxStreams: setting('EVENTS_MAX_STREAMS', count(0, 100_000), '1000',
      'Maximum number of event streams and long polls that are open at once; `0` switches `/events` and `Prefer: wait` off.'),
    watchFile: optional('WATCH_FILE', types.path, '/etc/ev-availability-proxy/stations',
      'Path of a file with one station id a line, at most 10,000, that are kept fresh in the background; read again when it changes.'),
  },
  clients: {
    keys: valueOrFile({
      value: optional('CLIENT_KEYS', clientKeys, 'web=put-a-random-key-here,ios=put-another-one-here',
        'Client keys as `name=key,name=key`; a client sends its key in the parameter `key`. Without client keys no key is required.'),
      file: optional('CLIENT_KEYS_FILE', types.path, '/run/secrets/client_keys',
        'Path of a file with one `name=key` a line; reloaded when it changes.'),
      validate: validateClients,
      isRequired: false,
    }),
    perSecond: setting('CLIENT_RATE_LIMIT', count(0, 100_000), '0',
      'Maximum number of requests per second of one client (of one address, without client keys); `0` means no limit.'),
    maxInFlight: setting('CLIENT_MAX_IN_FLIGHT', count(0, 100_000), '0',
      'Maximum number of requests of one client (or address) that wait for upstream at the same time; `0` means no limit.'),
    quotaShare: setting('CLIENT_QUOTA_SHARE', types.percentage, '100%',
      'Share of UPSTREAM_QUOTA that the lookups of one client (or address) may spend in a period; cached and stale answers are not affected.'),
    trustedProxies: optional('TRUSTED_PROXIES', types.networks, '10.0.0.0/8',
      'Trusted proxies: addresses and networks (CIDR) whose `X-Forwarded-For` is used; none by default.'),
  },
  admin: {
    host: setting('ADMIN_HOST', types.host, '127.0.0.1',
      'Address of the admin listener: status page, metrics, probes.'),
    port: setting('ADMIN_PORT', types.port, '8081',
      'Port of the admin listener.'),
  },
  drain: {
    delayMs: setting('DRAIN_DELAY', duration(0, 10 * MINUTE), '0',
      'How long after SIGTERM requests are still accepted, while `/readyz` is 503 and responses close their connection. In Kubernetes, longer than the readiness probe takes to fail.'),
    timeoutMs: setting('DRAIN_TIMEOUT', duration(0, HOUR), '10s',
      'Maximum time from SIGTERM to exit.'),
  },
  log: {
    level: setting('LOG_LEVEL', oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'), 'info',
      'Least severe level that is logged.'),
    access: setting('ACCESS_LOG', flag, 'false',
      'Whether every request is logged; errors always are.'),
    clientAddress: setting('LOG_CLIENT_ADDRESS', oneOf('off', 'truncated', 'full'), 'off',
      "The client's address on log lines about requests, and on the status page: `off`, `truncated` to its /24 or /48 network, or `full`."),
  },
} as const

/** The titles of the groups in docs/configuration.md. */
export const GROUP_TITLES: Record<keyof typeof SETTINGS, string> = {
  apiKey: 'API key',
  upstream: 'Upstream',
  checkKeyAtStart: 'Start',
  settingsFile: 'Changes at run time',
  cache: 'Cache',
  redis: 'Redis',
  stateDir: 'State directory',
  public: 'Public listener',
  live: 'Live updates',
  clients: 'Clients',
  admin: 'Admin listener',
  drain: 'Shutdown',
  log: 'Logs',
}
