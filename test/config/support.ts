import type { Config, Environment } from '../../src/config/load.ts'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { settingsIn } from '../../src/config/schema.ts'
import { SETTINGS } from '../../src/config/settings.ts'
import type { SettingType } from '../../src/config/types.ts'

export const KEY = 'a-key-0123456789abcdef'
export const ALL_SETTINGS = settingsIn(SETTINGS)
export const NAMES = ALL_SETTINGS.map(({ name }) => name)

/** A reader of these files; any other path is missing. */
export const files =
  (contents: Record<string, string> = {}) =>
  (path: string): string => {
    const text = contents[path]
    if (text === undefined)
      throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' })
    return text
  }

/** The configuration of an environment that has an API key. */
export const load = (environment: Environment = {}): Config =>
  loadConfig({ TOMTOM_API_KEY: KEY, ...environment }, files())

/** The problems of an environment; empty if it is valid. */
export function problems(environment: Environment, contents?: Record<string, string>): readonly string[] {
  try {
    loadConfig(environment, files(contents))
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/** The problems of one setting beside a valid API key. */
export const problem = (name: string, text: string): readonly string[] =>
  problems({ TOMTOM_API_KEY: KEY, [name]: text })

/** What a type makes of texts: the value, or undefined. */
export const parsed = <T>(type: SettingType<T>, texts: readonly string[]): [string, T | undefined][] =>
  texts.map((text) => [text, type.parse(text)])

/** The texts that a type accepts. */
export const accepted = (type: SettingType<unknown>, texts: readonly string[]): string[] =>
  texts.filter((text) => type.parse(text) !== undefined)
