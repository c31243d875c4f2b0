import type { SettingName, Values } from './config-settings.ts'
import { secret, SETTINGS } from './config-settings.ts'
import type { Quota } from './config-values.ts'
import { path } from './config-values.ts'
import type { RedisTarget } from './redis/target.ts'
import { parseSecret } from './secret.ts'

export { SETTINGS }

export type Environment = Readonly<Record<string, string | undefined>>

/** The whole configuration, in the slices that the parts take. */
export interface Config {
  readonly apiKey: { readonly value: string } | { readonly file: string }
  readonly public: { readonly host: string; readonly port: number }
  readonly admin: { readonly host: string; readonly port: number }
  readonly corsOrigins: '*' | readonly string[]
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
    readonly quota: Quota | null
    /** This replica's part of both limits while nothing is shared, from 0 to 1. */
    readonly limitShare: number
  }
  /** The shared tier; null without one. */
  readonly redis: RedisTarget | null
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
const OUR_PREFIX = /^(TOMTOM|CACHE|UPSTREAM|CORS|ADMIN|DRAIN|ACCESS|REDIS)_/
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
  return deepFreeze(assemble(values as Required<Values>, apiKey, environment))
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
    problems.push(
      `TOMTOM_API_KEY_FILE: expected ${path.expects}, got ${why} for ${/[/\\]/.test(file) ? quote(file) : 'a name without a slash'}`,
    )
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
  return Object.keys(environment)
    .filter(
      (name) => OUR_PREFIX.test(name) && !KUBERNETES_SERVICE.test(name) && !Object.hasOwn(SETTINGS, name),
    )
    .map((name) => `${name} is not a setting of this service`)
}

/** What came, on one line, of bounded length, and without what a URL may hold that is nobody's business. */
function quote(text: string): string {
  const shown = text.replace(/^(?=.*[?#]).*@.*$|^.*@/s, '…').replace(/[?#].*/s, '?…')
  return JSON.stringify(shown.length > 80 ? `${shown.slice(0, 80)}…` : shown)
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value))
    if (typeof member === 'object' && member !== null) deepFreeze(member)
  return Object.freeze(value)
}
