import type { ClientKey } from './client-keys.ts'
import { parseClientPairs, formatProblems } from './client-keys.ts'
import { redisUrl } from './redis-url.ts'
import type { SettingType } from './types.ts'
import {
  count,
  duration,
  flag,
  host,
  networks,
  oneOf,
  origin,
  origins,
  path,
  port,
  quota,
  rate,
  share,
  size,
} from './types.ts'
import { parseSecret } from '../lib/secret.ts'

const DAY = 24 * 3_600_000

export const secret: SettingType<string> = {
  expected: 'one line of visible ASCII characters',
  parse: (text) => parseSecret(text) ?? undefined,
  mask: () => '********',
}

const clientKeys: SettingType<readonly ClientKey[]> = {
  expected: 'name=key pairs, separated by commas',
  parse: (text) => {
    const { clients, problems: mistakes } = parseClientPairs(text)
    return mistakes.length > 0 ? undefined : clients
  },
  mask: () => '********',
  explain: (text) => formatProblems(parseClientPairs(text).problems),
}

interface Setting<T> extends SettingType<T> {
  /** As an operator would write it; null where nothing is preset. */
  readonly default: string | null
  readonly description: string
  readonly isSecret: boolean
}

function setting<T>(kind: SettingType<T>, preset: string | null, meaning: string): Setting<T> {
  return { ...kind, default: preset, description: meaning, isSecret: kind.mask !== undefined }
}

/** Every setting, once: name, kind with its bounds, default, sentence. README and .env.example are tested against it. */
export const SETTINGS = {
  TOMTOM_API_KEY: setting(secret, null, "upstream's API key; this or TOMTOM_API_KEY_FILE is required"),
  TOMTOM_API_KEY_FILE: setting(
    path,
    null,
    'a file that holds the key (a Docker or Kubernetes secret); read again when it changes',
  ),
  TOMTOM_BASE_URL: setting(origin, 'https://api.tomtom.com', "upstream's origin"),
  HOST: setting(host, '0.0.0.0', 'address of the public listener'),
  PORT: setting(port, '8080', 'port of the public listener'),
  ADMIN_HOST: setting(host, '127.0.0.1', 'address of the admin listener: metrics, probes, status'),
  ADMIN_PORT: setting(port, '8081', 'port of the admin listener'),
  CORS_ORIGINS: setting(
    origins,
    '*',
    '`*`, or the origins whose pages may call (then reflected, with credentials)',
  ),
  CLIENT_KEYS: setting(
    clientKeys,
    null,
    'who may ask, as `name=key,name=key`; clients send theirs in the parameter `key`. Without keys whoever asks is answered',
  ),
  CLIENT_KEYS_FILE: setting(
    path,
    null,
    'a file with one `name=key` a line instead; read again when it changes',
  ),
  CLIENT_RATE_LIMIT: setting(
    count(0, 100_000),
    '0',
    'requests a second of one client (of one address, without keys); `0` is no limit',
  ),
  CLIENT_MAX_IN_FLIGHT: setting(
    count(0, 100_000),
    '0',
    'requests of one client (or address) that may wait for upstream at once; `0` is no limit',
  ),
  TRUSTED_PROXIES: setting(
    networks,
    null,
    "addresses and networks (CIDR) whose `X-Forwarded-For` is believed; nobody's, when unset",
  ),
  CACHE_TTL: setting(
    duration(0, DAY),
    '30s',
    'how long an answer is fresh; `0` keeps nothing at all and still coalesces',
  ),
  CACHE_STALE_WHILE_REVALIDATE: setting(
    duration(0, DAY),
    '30s',
    'after that: old answers at once, while one refresh runs',
  ),
  CACHE_STALE_IF_ERROR: setting(
    duration(0, DAY),
    '5m',
    'after the TTL: old answers rather than errors, while upstream fails',
  ),
  CACHE_EMPTY_TTL: setting(
    duration(0, DAY),
    '60s',
    'the same as CACHE_TTL for stations without connectors, and for a 400 or 404 of upstream',
  ),
  CACHE_MAX_TTL: setting(
    duration(0, 31 * DAY),
    '5m',
    'how far a quota may stretch CACHE_TTL to make the calls last',
  ),
  CACHE_MAX_ENTRIES: setting(count(1, 10_000_000), '100000', 'most stations held'),
  CACHE_MAX_BYTES: setting(
    size(2 ** 10, 64 * 2 ** 30),
    '256MB',
    'most memory that answers take, renderings included',
  ),
  UPSTREAM_TIMEOUT: setting(duration(10, 300_000), '3s', 'total deadline of a call upstream'),
  UPSTREAM_SOFT_TIMEOUT: setting(
    duration(0, 300_000),
    '800ms',
    'when an old answer is served instead of waiting',
  ),
  UPSTREAM_MAX_QPS: setting(rate, '5', 'calls a second; `0` is no limit'),
  UPSTREAM_QUEUE_TIMEOUT: setting(
    duration(0, 60_000),
    '1s',
    'longest wait for a place under UPSTREAM_MAX_QPS',
  ),
  UPSTREAM_QUOTA: setting(
    quota,
    null,
    'calls per UTC day or month, such as `2500/day` or `75000/month`, made to last until the reset',
  ),
  UPSTREAM_MAX_CONNECTIONS: setting(count(1, 1_000), '16', 'sockets to upstream'),
  UPSTREAM_LIMIT_SHARE: setting(
    share,
    '1/1',
    "this replica's part of UPSTREAM_MAX_QPS and UPSTREAM_QUOTA while there is no shared tier, or it is away; `1/3` for one of three",
  ),
  REDIS_URL: setting(
    redisUrl,
    null,
    'the shared tier, a Redis or Valkey: replicas share answers, flights, limits and quota, and lose only the sharing when it is away',
  ),
  DOCS: setting(flag, 'true', 'the API reference at `/docs` of the public listener'),
  DRAIN_DELAY: setting(
    duration(0, 600_000),
    '0',
    'how long to answer with ready = 503 and `Connection: close` before closing (Kubernetes: longer than the probe period)',
  ),
  DRAIN_TIMEOUT: setting(duration(0, 3_600_000), '10s', 'longest time from SIGTERM to exit'),
  LOG_LEVEL: setting(
    oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    'info',
    'least severe level that is logged',
  ),
  ACCESS_LOG: setting(flag, 'false', 'a log line for every request (errors are always logged)'),
} as const

export type SettingName = keyof typeof SETTINGS
/** What each setting's text became; undefined where nothing is set and nothing preset. */
export type Values = { readonly [N in SettingName]: ReturnType<(typeof SETTINGS)[N]['parse']> }
