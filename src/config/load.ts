import { quote, resolveSecret } from './secrets.ts'
import type { SecretDeps } from './secrets.ts'
import type { Infer, Setting, SettingTree } from './schema.ts'
import { isSetting, isValueOrFile, settingsIn } from './schema.ts'
import { SETTINGS } from './settings.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export type Config = Infer<typeof SETTINGS> & {
  /** Every setting in force as text, secrets masked: for the start line of the log. */
  readonly effective: Readonly<Record<string, string>>
  /** Probable mistakes that do not prevent the start. */
  readonly warnings: readonly string[]
}

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
const SETTING_PREFIX = /^(TOMTOM|CACHE|UPSTREAM|CORS|CLIENT|TRUSTED|ADMIN|DRAIN|ACCESS|LOG|REDIS|STATE)_/
/** What Kubernetes sets for every service it knows, as `NAME=value`. */
const KUBERNETES_SERVICE = /_SERVICE_(HOST|PORT)[_=]|_PORT_\d+_(TCP|UDP|SCTP)[_=]|_PORT=(tcp|udp|sctp):/

/**
 * The frozen configuration of an environment. `readFile` reads the file of a secret.
 * @throws ConfigError with every problem
 */
export function loadConfig(environment: Environment, readFile: (path: string) => string): Config {
  const problems: string[] = []
  const values = readTree(SETTINGS, {
    isSet: (setting) => textOf(environment, setting) !== null,
    read: (setting) => readSetting(environment, setting, problems),
    readFile,
    problems,
  })
  const { stateDir, redis } = values as Infer<typeof SETTINGS>
  if (stateDir !== null && redis !== null) {
    problems.push('STATE_DIR and REDIS_URL: both are set; unset one of them')
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return deepFreeze({
    ...(values as Infer<typeof SETTINGS>),
    effective: effective(environment),
    warnings: unknownSettings(environment),
  })
}

function readTree(tree: SettingTree, deps: SecretDeps): unknown {
  if (isSetting(tree)) return deps.read(tree)
  if (isValueOrFile(tree)) return resolveSecret(tree, deps)
  return Object.fromEntries(Object.entries(tree).map(([member, child]) => [member, readTree(child, deps)]))
}

/** The value of a setting; null if it is unset without a default, or invalid. */
function readSetting<T>(environment: Environment, setting: Setting<T>, problems: string[]): T | null {
  const { name, parse, expected, mask, explain } = setting
  const text = textOf(environment, setting)
  if (text === null) return null
  const value = parse(text)
  if (value !== undefined) return value
  const received = mask === undefined ? quote(text) : 'something else'
  problems.push(`${name}: expected ${expected}, got ${received}${explain ? `; ${explain(text)}` : ''}`)
  return null
}

/** An empty variable counts as unset: compose files pass `${X:-}` on. */
function textOf(environment: Environment, setting: Setting<unknown>): string | null {
  const text = environment[setting.name]
  return text === undefined || text === '' ? setting.default : text
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
    .filter(([name]) => SETTING_PREFIX.test(name) && !known.has(name))
    .filter(([name, value]) => !KUBERNETES_SERVICE.test(`${name}=${value}`))
    .map(([name]) => `${name} is not a setting of this service`)
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value)) {
    if (typeof member === 'object' && member !== null) deepFreeze(member)
  }
  return Object.freeze(value)
}
