import type { ClientKey } from './client-keys.ts'
import { parseClientLines, formatProblems } from './client-keys.ts'
import { resolveSecret, quote } from './secrets.ts'
import type { SettingName, Values } from './settings.ts'
import { secret, SETTINGS } from './settings.ts'
import type { QuotaLimit } from './types.ts'
import type { RedisConfig } from './redis-url.ts'
import { parseSecret } from '../lib/secret.ts'

export { SETTINGS }

export type Environment = Readonly<Record<string, string | undefined>>

/** The whole configuration, in the slices that the parts take. */
export interface Config {
  readonly apiKey: { readonly value: string } | { readonly file: string }
  readonly public: { readonly host: string; readonly port: number }
  readonly admin: { readonly host: string; readonly port: number }
  readonly corsOrigins: '*' | readonly string[]
  /** Who may ask; null for whoever asks. */
  readonly clients: { readonly value: readonly ClientKey[] } | { readonly file: string } | null
  readonly access: {
    /** Requests a second of one client; 0 is no limit. */
    readonly perSecond: number
    /** Requests of one client that may wait for upstream at once; 0 is no limit. */
    readonly maxInFlight: number
    /** Addresses and networks (CIDR) whose X-Forwarded-For is believed. */
    readonly trustedProxies: readonly string[]
  }
  /** Whether the API reference is served. */
  readonly docs: boolean
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
    readonly quota: QuotaLimit | null
    /** This replica's part of both limits while nothing is shared, from 0 to 1. */
    readonly limitShare: number
  }
  /** The shared tier; null without one. */
  readonly redis: RedisConfig | null
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
const OUR_PREFIX = /^(TOMTOM|CACHE|UPSTREAM|CORS|CLIENT|TRUSTED|ADMIN|DRAIN|ACCESS|LOG|REDIS)_/
/** What Kubernetes sets for every service it knows, as `NAME=value`. */
const KUBERNETES_SERVICE = /_SERVICE_(HOST|PORT)[_=]|_PORT_\d+_(TCP|UDP|SCTP)[_=]|_PORT=(tcp|udp|sctp):/

/**
 * The configuration that the environment asks for. `readFile` reads a secret's file.
 * @throws ConfigError naming every mistake
 */
export function loadConfig(environment: Environment, readFile: (path: string) => string): Config {
  const problems: string[] = []
  const values = parseValues(environment, problems)
  const given = (name: SettingName) => textOf(environment, name) !== null
  const apiKey = resolveSecret('TOMTOM_API_KEY', { values, given, readFile, problems, faultOf: noKey })
  const clients = resolveSecret('CLIENT_KEYS', { values, given, readFile, problems, faultOf: noClients })
  if (apiKey === null && !given('TOMTOM_API_KEY') && !given('TOMTOM_API_KEY_FILE')) {
    problems.push('TOMTOM_API_KEY or TOMTOM_API_KEY_FILE: expected one of them, got neither')
  }
  if (problems.length > 0 || apiKey === null) throw new ConfigError(problems)
  return deepFreeze(assemble(values as Required<Values>, { apiKey, clients }, environment))
}

function noKey(content: string): string | null {
  return parseSecret(content) === null ? `expected ${secret.expected} in the file, got something else` : null
}

function noClients(content: string): string | null {
  const { problems: mistakes } = parseClientLines(content)
  return mistakes.length > 0 ? `expected one name=key a line in the file; ${formatProblems(mistakes)}` : null
}

/** An empty variable is an unset one: compose files pass `${X:-}` on. */
function textOf(environment: Environment, name: SettingName): string | null {
  const text = environment[name]
  return text === undefined || text === '' ? SETTINGS[name].default : text
}

function parseValues(environment: Environment, problems: string[]): Values {
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { parse, expected: expects, explain, isSecret } = SETTINGS[name]
    const text = textOf(environment, name)
    if (text === null) continue
    values[name] = parse(text)
    if (values[name] === undefined) {
      const came = isSecret ? 'something else' : quote(text)
      problems.push(`${name}: expected ${expects}, got ${came}${explain ? `; ${explain(text)}` : ''}`)
    }
  }
  return values as Values
}

function assemble(
  values: Required<Values>,
  { apiKey, clients }: Pick<Config, 'apiKey' | 'clients'>,
  environment: Environment,
): Config {
  const v = values as { [N in SettingName]: NonNullable<Values[N]> }
  return {
    apiKey,
    public: { host: v.HOST, port: v.PORT },
    admin: { host: v.ADMIN_HOST, port: v.ADMIN_PORT },
    corsOrigins: v.CORS_ORIGINS,
    clients,
    access: {
      perSecond: v.CLIENT_RATE_LIMIT,
      maxInFlight: v.CLIENT_MAX_IN_FLIGHT,
      trustedProxies: values.TRUSTED_PROXIES ?? [],
    },
    docs: v.DOCS,
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
      limitShare: v.UPSTREAM_LIMIT_SHARE,
    },
    redis: values.REDIS_URL ?? null,
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
    texts.flatMap(([name, text]) => (text === null ? [] : [[name, SETTINGS[name].mask?.(text) ?? text]])),
  )
}

function unknownSettings(environment: Environment): string[] {
  return Object.entries(environment)
    .filter(([name]) => OUR_PREFIX.test(name) && !Object.hasOwn(SETTINGS, name))
    .filter(([name, value]) => !KUBERNETES_SERVICE.test(`${name}=${value}`))
    .map(([name]) => `${name} is not a setting of this service`)
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value))
    if (typeof member === 'object' && member !== null) deepFreeze(member)
  return Object.freeze(value)
}
