import type { Clock } from '../lib/clock.ts'
import { watchFile } from '../lib/watched-file.ts'
import { contradictions } from './contradictions.ts'
import type { Config } from './config.ts'
import { readSetting, textOf } from './read-setting.ts'
import type { Environment, Setting } from './schema.ts'
import { SETTINGS } from './settings.ts'

/** The settings that SETTINGS_FILE overrides while the service runs. */
const OVERRIDABLE: readonly Setting<unknown>[] = [
  SETTINGS.cache.ttlMs,
  SETTINGS.cache.maxTtlMs,
  SETTINGS.cache.staleIfErrorMs,
  SETTINGS.upstream.perSecond,
  SETTINGS.upstream.quota,
  SETTINGS.log.level,
]
const NAMES = new Set(OVERRIDABLE.map(({ name }) => name))
const MAX_PROBLEMS = 10

/** The values of these settings, as `Config` has them. */
export interface RuntimeSettings {
  readonly cache: Pick<Config['cache'], 'ttlMs' | 'maxTtlMs' | 'staleIfErrorMs'>
  readonly upstream: Pick<Config['upstream'], 'perSecond' | 'quota'>
  readonly log: Pick<Config['log'], 'level'>
  /** Their texts, for the log and the status page; empty if unset. */
  readonly effective: Readonly<Record<string, string>>
}

export interface Overrides {
  readonly values: Readonly<Record<string, string>>
  /** Problems with the number of their line. */
  readonly problems: readonly string[]
}

/** `NAME=value` lines; blank lines and lines that begin with `#` are skipped. */
export function parseOverrides(text: string): Overrides {
  const values = new Map<string, string>()
  const problems: string[] = []
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const at = line.indexOf('=')
    const name = line.slice(0, Math.max(0, at)).trim()
    if (!NAMES.has(name))
      problems.push(`line ${i + 1}: expected NAME=value with one of ${[...NAMES].join(', ')}`)
    else if (values.has(name)) problems.push(`line ${i + 1}: ${name} is there twice`)
    else values.set(name, line.slice(at + 1).trim())
  }
  return { values: Object.fromEntries(values), problems: problems.slice(0, MAX_PROBLEMS) }
}

/** The texts of the environment that a file overrides. */
export function overridableTexts(environment: Environment): Record<string, string> {
  const texts = OVERRIDABLE.map((setting) => [setting.name, textOf(environment, setting) ?? ''] as const)
  return Object.fromEntries(texts)
}

/**
 * The settings with this content of the file.
 * @throws Error with all problems
 */
export function parseRuntimeSettings(config: Config, text: string): RuntimeSettings {
  const { values, problems: syntax } = parseOverrides(text)
  const environment = { ...config.overridable, ...values }
  const problems = [...syntax]
  const read = <T>(setting: Setting<T>) => readSetting(environment, setting, problems) as T
  const cache = {
    ttlMs: read(SETTINGS.cache.ttlMs),
    maxTtlMs: read(SETTINGS.cache.maxTtlMs),
    staleIfErrorMs: read(SETTINGS.cache.staleIfErrorMs),
  }
  const upstream = { perSecond: read(SETTINGS.upstream.perSecond), quota: read(SETTINGS.upstream.quota) }
  const log = { level: read(SETTINGS.log.level) }
  if (problems.length === 0) {
    const values = {
      ...config,
      cache: { ...config.cache, ...cache },
      upstream: { ...config.upstream, ...upstream },
    }
    const texts: Environment = { ...config.effective, ...environment }
    const textOf = (name: string) => texts[name] ?? ''
    problems.push(...contradictions({ values, textOf, isSet: () => false, isInvalid: () => false }))
  }
  if (problems.length > 0) throw new Error(problems.join('; '))
  return { cache, upstream, log, effective: overridableTexts(environment) }
}

export interface RuntimeSettingsDeps {
  readonly clock: Pick<Clock, 'after'>
  readonly onChange: (settings: RuntimeSettings) => void
  /** The file cannot be used; what is in force stays. */
  readonly onError: (reason: string) => void
  /** The file can be used again. */
  readonly onRecovery: () => void
}

/** Reads SETTINGS_FILE again when it changes. Returns the function that stops. */
export function watchRuntimeSettings(config: Config, deps: RuntimeSettingsDeps): () => void {
  if (config.settingsFile === null) return () => {}
  const { stop } = watchFile(config.settingsFile, {
    parse: (text) => parseRuntimeSettings(config, text),
    isSame: (one, other) => JSON.stringify(one) === JSON.stringify(other),
    ...deps,
  })
  return stop
}
