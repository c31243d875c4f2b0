import type { SettingType } from './types.ts'

/** A client of this service: its name in logs and metrics, and the key it sends. */
export interface ClientKey {
  readonly name: string
  readonly key: string
}

export interface ClientList {
  readonly clients: readonly ClientKey[]
  /** Problems per entry, without repeating a name or key. */
  readonly problems: readonly string[]
}

/** Each client is a label value of a metric. */
export const MAX_CLIENTS = 100

/** The metrics' label value for requests without a valid key. */
const RESERVED_NAME = 'none'
const MAX_LISTED_PROBLEMS = 10
const NAME = /^[a-z0-9-]{1,32}$/
/** Unreserved characters (RFC 3986, 2.3): a key never needs encoding in a URL. */
const KEY = /^[A-Za-z0-9._~-]{16,256}$/

export const clientKeys: SettingType<readonly ClientKey[]> = {
  expected: 'name=key pairs, separated by commas',
  parse: (text) => {
    const { clients, problems } = parseClientPairs(text)
    return problems.length > 0 ? undefined : clients
  },
  mask: () => '********',
  explain: (text) => formatProblems(parseClientPairs(text).problems),
}

/** The problem of a file of client keys; null if it is valid. */
export function validateClients(content: string): string | null {
  const { problems } = parseClientLines(content)
  return problems.length > 0 ? `expected one name=key a line in the file; ${formatProblems(problems)}` : null
}

/** Comma-separated `name=key` pairs. */
export function parseClientPairs(text: string): ClientList {
  return parseEntries('entry', text.split(','))
}

/** One `name=key` a line; blank lines and lines that begin with `#` are skipped. */
export function parseClientLines(text: string): ClientList {
  const lines = text.split('\n').map((line) => line.trim())
  return parseEntries(
    'line',
    lines.map((line) => (line.startsWith('#') ? '' : line)),
  )
}

/** The problems as one text of bounded length. */
export function formatProblems(problems: readonly string[]): string {
  const listed = problems.slice(0, MAX_LISTED_PROBLEMS)
  const more = problems.length - listed.length
  return [...listed, ...(more > 0 ? [`${more} more problems`] : [])].join('; ')
}

function parseEntries(unit: string, texts: readonly string[]): ClientList {
  const keyOf = new Map<string, string>()
  const keys = new Set<string>()
  const problems: string[] = []
  for (const [i, text] of texts.entries()) {
    const entry = text.trim()
    if (entry === '') continue
    const [name, key] = split(entry)
    const found = problemsOf(name, key)
    if (keyOf.has(name)) found.push('duplicate name')
    if (key !== undefined && keys.has(key)) found.push('duplicate key')
    problems.push(...found.map((problem) => `${unit} ${i + 1}: ${problem}`))
    keyOf.set(name, key ?? '')
    if (key !== undefined) keys.add(key)
  }
  if (keyOf.size === 0) problems.push('there is no client')
  if (keyOf.size > MAX_CLIENTS) problems.push(`there are more than ${MAX_CLIENTS} clients`)
  return { clients: [...keyOf].map(([name, key]) => ({ name, key })), problems }
}

function split(entry: string): [name: string, key?: string] {
  const at = entry.indexOf('=')
  return at === -1 ? [entry] : [entry.slice(0, at), entry.slice(at + 1)]
}

function problemsOf(name: string, key: string | undefined): string[] {
  if (key === undefined) return ['name=key is expected']
  const problems: string[] = []
  if (!NAME.test(name)) problems.push('a name is 1 to 32 of a-z, 0-9 and -')
  if (name === RESERVED_NAME) problems.push('this name is reserved for requests without a valid key')
  if (!KEY.test(key)) problems.push('a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~')
  return problems
}
