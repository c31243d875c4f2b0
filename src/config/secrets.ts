import type { SettingName, Values } from './settings.ts'
import { path } from './types.ts'

/** A setting for a secret that may come as a value, or in the file that `…_FILE` names. */
type SecretName = 'TOMTOM_API_KEY' | 'CLIENT_KEYS'

interface Circumstances {
  readonly values: Values
  /** Whether the environment has a setting, good or not. */
  readonly given: (name: SettingName) => boolean
  readonly readFile: (path: string) => string
  readonly problems: string[]
  /** What is wrong with a file's content, in words that repeat nothing of it; null if it is good. */
  readonly faultOf: (content: string) => string | null
}

/** The one of both that is set and good; null without one. Mistakes are added to the problems. */
export function resolveSecret<N extends SecretName>(
  name: N,
  { values, given, readFile, problems, faultOf }: Circumstances,
): { readonly value: NonNullable<Values[N]> } | { readonly file: string } | null {
  const { [name]: value, [`${name}_FILE` as const]: file } = values
  if (given(name) && file !== undefined) problems.push(`${name} and ${name}_FILE: expected one, got both`)
  else if (file !== undefined) {
    const fault = faultOfFile(file, readFile, faultOf)
    if (fault === null) return { file }
    problems.push(`${name}_FILE: ${fault}`)
  }
  return value === undefined ? null : { value }
}

function faultOfFile(
  file: string,
  readFile: Circumstances['readFile'],
  faultOf: Circumstances['faultOf'],
): string | null {
  try {
    return faultOf(readFile(file))
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'an error'
    return `expected ${path.expected}, got ${why} for ${/[/\\]/.test(file) ? quote(file) : 'a name without a slash'}`
  }
}

/** What came, on one line, of bounded length, and without what a URL may hold that is nobody's business. */
export function quote(text: string): string {
  const shown = text.replace(/^(?=.*[?#]).*@.*$|^.*@/s, '…').replace(/[?#].*/s, '?…')
  return JSON.stringify(shown.length > 80 ? `${shown.slice(0, 80)}…` : shown)
}
