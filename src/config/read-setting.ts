import type { Environment, Setting } from './schema.ts'
import { quote } from './secrets.ts'

/** The value of a setting; null if it is unset without a default, or invalid. */
export function readSetting<T>(environment: Environment, setting: Setting<T>, problems: string[]): T | null {
  const { name, parse, expected, mask, explain } = setting
  const text = textOf(environment, setting)
  if (text === null) return null
  const value = parse(text)
  if (value !== undefined) return value
  const received = mask === undefined ? quote(text) : 'something else'
  problems.push(`${name}: expected ${expected}, got ${received}${explain ? `; ${explain(text)}` : ''}`)
  return null
}

/**
 * An empty variable counts as unset: compose files pass `${X:-}` on. One trailing newline, as block texts of YAML have, is
 * no part of a value; secrets have a rule of their own.
 */
export function textOf(
  environment: Environment,
  { name, mask, default: byDefault }: Setting<unknown>,
): string | null {
  const text = environment[name]
  const value = mask === undefined ? text?.replace(/\r?\n$/, '') : text
  return value === undefined || value === '' ? byDefault : value
}
