import type { Kind, Quota } from './config-values.ts'
import {
  count,
  duration,
  flag,
  host,
  oneOf,
  origin,
  origins,
  path,
  port,
  quota,
  rate,
  size,
} from './config-values.ts'
import { parseSecret } from './secret.ts'

const DAY = 24 * 3_600_000

const secret: Kind<string> = {
  expects: 'one line of visible ASCII characters',
  parse: (text) => parseSecret(text) ?? undefined,
}

interface Setting<T> extends Kind<T> {
  /** As an operator would write it; null where nothing is preset. */
  readonly preset: string | null
  readonly meaning: string
  readonly isSecret: boolean
}

function setting<T>(kind: Kind<T>, preset: string | null, meaning: string): Setting<T> {
  return { ...kind, preset, meaning, isSecret: kind === (secret as Kind<unknown>) }
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
    size(64 * 2 ** 10, 64 * 2 ** 30),
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

type SettingName = keyof typeof SETTINGS
/** What each setting's text became; undefined where nothing is set and nothing preset. */
type Values = { readonly [N in SettingName]: ReturnType<(typeof SETTINGS)[N]['parse']> }

export type Environment = Readonly<Record<string, string | undefined>>

/** The whole configuration, in the slices that the parts take. */
export interface Config {
  readonly apiKey: { readonly value: string } | { readonly file: string }
  readonly public: { readonly host: string; readonly port: number }
  readonly admin: { readonly host: string; readonly port: number }
  readonly corsOrigins: '*' | readonly string[]
  readonly cache: {
    readonly ttlMs: number
    readonly staleWhileRevalidateMs: number
    readonly staleIfErrorMs: number
    readonly emptyTtlMs: number
    readonly maxTtlMs: number
    readonly maxEntries: number
    readonly maxBytes: number
  }
  readonly upstream: {
    readonly origin: string
    readonly timeoutMs: number
    readonly softTimeoutMs: number
    readonly maxConnections: number
    /** Calls a second; 0 is no limit. */
    readonly perSecond: number
    readonly queueTimeoutMs: number
    readonly quota: Quota | null
  }
  readonly drain: { readonly delayMs: number; readonly timeoutMs: number }
  readonly log: { readonly level: string; readonly access: boolean }
  /** Every setting in force as text, secrets masked: for the start line of the log. */
  readonly effective: Readonly<Record<string, string>>
  /** What is odd and yet no mistake. */
  readonly warnings: readonly string[]
}

/** All that is wrong with the environment, in one message. */
export class ConfigError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`The configuration is not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Prefixes that only this service's settings have: an unknown name behind one is most likely a slip. */
const OUR_PREFIX = /^(TOMTOM|CACHE|UPSTREAM|CORS|ADMIN|DRAIN|ACCESS)_/
/** Kubernetes sets such variables for every service it knows. */
const KUBERNETES_SERVICE = /_(SERVICE|PORT)(_|$)/

/**
 * The configuration that the environment asks for. `readFile` reads a secret's file.
 * @throws ConfigError naming every mistake
 */
export function loadConfig(environment: Environment, readFile: (path: string) => string): Config {
  const problems: string[] = []
  const values = parseValues(environment, problems)
  const apiKey = chooseKey(environment, values, readFile, problems)
  if (problems.length > 0 || apiKey === null) throw new ConfigError(problems)
  return Object.freeze(assemble(values as Required<Values>, apiKey, environment))
}

/** An empty variable is an unset one: compose files pass `${X:-}` on. */
function textOf(environment: Environment, name: SettingName): string | null {
  const text = environment[name]
  return text === undefined || text === '' ? SETTINGS[name].preset : text
}

function parseValues(environment: Environment, problems: string[]): Values {
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { parse, expects, isSecret } = SETTINGS[name]
    const text = textOf(environment, name)
    if (text === null) continue
    values[name] = parse(text)
    if (values[name] === undefined) {
      problems.push(`${name}: expected ${expects}, got ${isSecret ? 'something else' : quote(text)}`)
    }
  }
  return values as Values
}

function chooseKey(
  environment: Environment,
  { TOMTOM_API_KEY: value, TOMTOM_API_KEY_FILE: file }: Values,
  readFile: (path: string) => string,
  problems: string[],
): Config['apiKey'] | null {
  const given = textOf(environment, 'TOMTOM_API_KEY') !== null
  if (given && file !== undefined)
    problems.push('TOMTOM_API_KEY and TOMTOM_API_KEY_FILE: expected one, got both')
  else if (file !== undefined) return keyFile(file, readFile, problems)
  else if (!given) problems.push('TOMTOM_API_KEY or TOMTOM_API_KEY_FILE: expected one of them, got neither')
  return value === undefined ? null : { value }
}

function keyFile(
  file: string,
  readFile: (path: string) => string,
  problems: string[],
): Config['apiKey'] | null {
  try {
    if (parseSecret(readFile(file)) !== null) return { file }
    problems.push(`TOMTOM_API_KEY_FILE: expected ${secret.expects} in the file, got something else`)
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'an error'
    problems.push(`TOMTOM_API_KEY_FILE: expected ${path.expects}, got ${why} for ${quote(file)}`)
  }
  return null
}

function assemble(values: Required<Values>, apiKey: Config['apiKey'], environment: Environment): Config {
  const v = values as { [N in SettingName]: NonNullable<Values[N]> }
  return {
    apiKey,
    public: { host: v.HOST, port: v.PORT },
    admin: { host: v.ADMIN_HOST, port: v.ADMIN_PORT },
    corsOrigins: v.CORS_ORIGINS,
    cache: {
      ttlMs: v.CACHE_TTL,
      staleWhileRevalidateMs: v.CACHE_STALE_WHILE_REVALIDATE,
      staleIfErrorMs: v.CACHE_STALE_IF_ERROR,
      emptyTtlMs: v.CACHE_EMPTY_TTL,
      maxTtlMs: v.CACHE_MAX_TTL,
      maxEntries: v.CACHE_MAX_ENTRIES,
      maxBytes: v.CACHE_MAX_BYTES,
    },
    upstream: {
      origin: v.TOMTOM_BASE_URL,
      timeoutMs: v.UPSTREAM_TIMEOUT,
      softTimeoutMs: v.UPSTREAM_SOFT_TIMEOUT,
      maxConnections: v.UPSTREAM_MAX_CONNECTIONS,
      perSecond: v.UPSTREAM_MAX_QPS,
      queueTimeoutMs: v.UPSTREAM_QUEUE_TIMEOUT,
      quota: values.UPSTREAM_QUOTA ?? null,
    },
    drain: { delayMs: v.DRAIN_DELAY, timeoutMs: v.DRAIN_TIMEOUT },
    log: { level: v.LOG_LEVEL, access: v.ACCESS_LOG },
    effective: effective(environment),
    warnings: unknownSettings(environment),
  }
}

function effective(environment: Environment): Record<string, string> {
  const texts = (Object.keys(SETTINGS) as SettingName[]).map(
    (name) => [name, textOf(environment, name)] as const,
  )
  return Object.fromEntries(
    texts.flatMap(([name, text]) =>
      text === null ? [] : [[name, SETTINGS[name].isSecret ? '********' : text]],
    ),
  )
}

function unknownSettings(environment: Environment): string[] {
  return Object.keys(environment)
    .filter(
      (name) => OUR_PREFIX.test(name) && !KUBERNETES_SERVICE.test(name) && !Object.hasOwn(SETTINGS, name),
    )
    .map((name) => `${name} is not a setting of this service`)
}

/** What came, on one line, of bounded length, and without what a URL may hold that is nobody's business. */
function quote(text: string): string {
  const shown = text.replace(/\/\/[^/]*@/, '//…@').replace(/[?#].*/s, '?…')
  return JSON.stringify(shown.length > 80 ? `${shown.slice(0, 80)}…` : shown)
}
