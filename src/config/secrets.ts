import type { SecretSource } from '../lib/secret.ts'
import { parseSecret } from '../lib/secret.ts'
import type { Setting, ValueOrFile } from './schema.ts'
import type { SettingType } from './types.ts'

export const secret: SettingType<string> = {
  expected: 'one line of visible ASCII characters',
  parse: (text) => parseSecret(text) ?? undefined,
  mask: () => '********',
}

/** The problem of a file that should contain the API key; null if it is valid. */
export function validateKey(content: string): string | null {
  return parseSecret(content) === null ? `expected ${secret.expected} in the file, got something else` : null
}

export interface SecretDeps {
  /** Whether the environment has a value for a setting, valid or not. */
  readonly isSet: (setting: Setting<unknown>) => boolean
  /** The parsed value; null if it is unset or invalid. */
  readonly read: <T>(setting: Setting<T>) => T | null
  readonly readFile: (path: string) => string
  /** Problems are added here. */
  readonly problems: string[]
}

/** The source of a secret: the value, or a file that was read once to validate it. Null if neither is set and valid. */
export function resolveSecret<T>(
  { value, file, validate, isRequired }: ValueOrFile<T, boolean>,
  { isSet, read, readFile, problems }: SecretDeps,
): SecretSource<T> | null {
  const parsed = read(value)
  const path = read(file)
  if (isSet(value) && path !== null) problems.push(`${value.name} and ${file.name}: expected one, got both`)
  else if (path !== null) {
    const problem = validateFile(path, { readFile, validate, expected: file.expected })
    if (problem === null) return { file: path }
    problems.push(`${file.name}: ${problem}`)
  } else if (isRequired && !isSet(value)) {
    problems.push(`${value.name} or ${file.name}: expected one of them, got neither`)
  }
  return parsed === null ? null : { value: parsed }
}

/** A file of a folder, from the root or from the current directory. */
const PATH = /^(?:\.{0,2}[/\\]|[A-Za-z]:\\)[\w.-]{1,64}(?:[/\\][\w.-]{1,64})*$/

interface FileCheck {
  readonly readFile: (path: string) => string
  readonly validate: (content: string) => string | null
  readonly expected: string
}

function validateFile(path: string, { readFile, validate, expected }: FileCheck): string | null {
  try {
    return validate(readFile(path))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'an error'
    // Another text may be a secret that was put into the wrong variable: base64 contains slashes.
    return `expected ${expected}, got ${code} for ${PATH.test(path) ? quote(path) : 'a text that is no absolute path'}`
  }
}

/** The received text on one line, cut, and without the parts of a URL that may hold a secret. */
export function quote(text: string): string {
  const safe = text.replace(/^(?=.*[?#]).*@.*$|^.*@/s, '…').replace(/[?#].*/s, '?…')
  return JSON.stringify(safe.length > 80 ? `${safe.slice(0, 80)}…` : safe)
}
