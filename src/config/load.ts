import type { Config, Values } from './config.ts'
import type { ReadSettings } from './contradictions.ts'
import { contradictions } from './contradictions.ts'
import { chooseOutboundProxy } from './outbound-proxy.ts'
import type { RedisConfig } from './redis-url.ts'
import { parseRedisUrlFile } from './redis-url.ts'
import { readSetting, textOf } from './read-setting.ts'
import { overridableTexts, parseOverrides } from './runtime-settings.ts'
import { resolveSecret } from './secrets.ts'
import type { SecretDeps } from './secrets.ts'
import type { Environment, SettingTree } from './schema.ts'
import { isSetting, isValueOrFile, settingsIn } from './schema.ts'
import { SETTINGS } from './settings.ts'

export type { Config } from './config.ts'
export type { Environment } from './schema.ts'

/** All problems of an environment in one message. */
export class ConfigError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`The configuration is not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Prefixes of this service's settings: an unknown variable with one of them is probably a typo. */
const SETTING_PREFIX =
  /^(TOMTOM|CACHE|UPSTREAM|CORS|CLIENT|TRUSTED|ADMIN|DRAIN|ACCESS|LOG|REDIS|POWER|STATE|EVENTS|WATCH|SETTINGS|CHECK)_/
/** What Kubernetes sets for every service it knows, as `NAME=value`. */
const KUBERNETES_SERVICE = /_SERVICE_(HOST|PORT)[_=]|_PORT_\d+_(TCP|UDP|SCTP)[_=]|_PORT=(tcp|udp|sctp):/
/** What systemd sets for the directories of a unit, and `node --watch` for its process. */
const SET_BY_OTHERS: ReadonlySet<string> = new Set([
  'STATE_DIRECTORY',
  'CACHE_DIRECTORY',
  'WATCH_REPORT_DEPENDENCIES',
])

/**
 * The frozen configuration of an environment. `readFile` reads the file of a secret.
 * @throws ConfigError with every problem
 */
export function loadConfig(original: Environment, readFile: (path: string) => string): Config {
  const problems: string[] = []
  const environment = { ...original, ...readOverrides(original, readFile, problems) }
  const values = readTree(SETTINGS, {
    isSet: (setting) => textOf(environment, setting) !== null,
    read: (setting) => readSetting(environment, setting, problems),
    readFile,
    problems,
  }) as Values
  if (environment['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    problems.push(
      'NODE_TLS_REJECT_UNAUTHORIZED: expected to be unset, got 0, which sends the API key to anyone; use NODE_EXTRA_CA_CERTS',
    )
  }
  const isSet = (name: string) => (environment[name] ?? '') !== ''
  problems.push(...contradictions({ values, isSet, ...textsAndFaults(environment, problems) }))
  const outbound = values.upstream.baseUrl && chooseOutboundProxy(environment, values.upstream.baseUrl)
  if (outbound) problems.push(...outbound.problems)
  if (problems.length > 0 || !outbound) throw new ConfigError(problems)
  return deepFreeze({
    ...values,
    redis: redisConfig(values.redis, readFile),
    overridable: overridableTexts(original),
    outboundProxy: outbound.proxy,
    effective: { ...effective(environment), ...outbound.effective },
    warnings: unknownSettings(environment),
  })
}

/** The texts of the settings, and which of them have a problem of their own. */
function textsAndFaults(
  environment: Environment,
  problems: readonly string[],
): Pick<ReadSettings, 'textOf' | 'isInvalid'> {
  const texts = new Map(settingsIn(SETTINGS).map((setting) => [setting.name, textOf(environment, setting)]))
  const invalid = new Set(problems.map((problem) => problem.slice(0, problem.indexOf(':'))))
  return { textOf: (name) => texts.get(name) ?? '', isInvalid: (name) => invalid.has(name) }
}

/** The names of the settings whose values are secret. */
export function secretNames(): string[] {
  return settingsIn(SETTINGS).flatMap(({ name, mask }) => (mask === undefined ? [] : [name]))
}

/** What SETTINGS_FILE sets. */
function readOverrides(
  environment: Environment,
  readFile: (path: string) => string,
  problems: string[],
): Readonly<Record<string, string>> {
  const { name } = SETTINGS.settingsFile
  const path = textOf(environment, SETTINGS.settingsFile)
  if (path === null) return {}
  try {
    const { values, problems: found } = parseOverrides(readFile(path))
    problems.push(...found.map((problem) => `${name}: ${problem}`))
    return values
  } catch (error) {
    problems.push(
      `${name}: expected ${SETTINGS.settingsFile.expected}, got ${(error as NodeJS.ErrnoException).code}`,
    )
    return {}
  }
}

/** A file has been validated already. It is read once: a connection is not moved to another server at run time. */
function redisConfig(source: Values['redis'], readFile: (path: string) => string): RedisConfig | null {
  if (source === null) return null
  return 'value' in source ? source.value : (parseRedisUrlFile(readFile(source.file)) ?? null)
}

function readTree(tree: SettingTree, deps: SecretDeps): unknown {
  if (isSetting(tree)) return deps.read(tree)
  if (isValueOrFile(tree)) return resolveSecret(tree, deps)
  return Object.fromEntries(Object.entries(tree).map(([member, child]) => [member, readTree(child, deps)]))
}

function effective(environment: Environment): Record<string, string> {
  const shown = settingsIn(SETTINGS).flatMap((setting) => {
    const text = textOf(environment, setting)
    return text === null ? [] : [[setting.name, setting.mask?.(text) ?? text]]
  })
  return Object.fromEntries(shown)
}

function unknownSettings(environment: Environment): string[] {
  const known = new Set(settingsIn(SETTINGS).map(({ name }) => name))
  return Object.entries(environment)
    .filter(([name]) => SETTING_PREFIX.test(name) && !known.has(name) && !SET_BY_OTHERS.has(name))
    .filter(([name, value]) => !KUBERNETES_SERVICE.test(`${name}=${value}`))
    .map(([name]) => `${name} is not a setting of this service`)
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value)) {
    if (typeof member === 'object' && member !== null) deepFreeze(member)
  }
  return Object.freeze(value)
}
