/** A client that may ask: what the log and the metrics call it, and the key that it sends. */
export interface ClientKey {
  readonly name: string
  readonly key: string
}

export interface ClientList {
  readonly clients: readonly ClientKey[]
  /** What is wrong, entry by entry; none of it repeats a name or a key. */
  readonly problems: readonly string[]
}

/** Each is a label of a metric. */
export const MAX_CLIENTS = 100

/** What the metrics call requests of nobody. */
const RESERVED_NAME = 'none'
const NAME = /^[a-z0-9-]{1,32}$/
/** What stands for itself in a URL (RFC 3986, 2.3): no client can get the encoding of its key wrong. */
const KEY = /^[A-Za-z0-9._~-]{16,256}$/

/** `name=key` pairs, separated by commas. */
export function parseClientPairs(text: string): ClientList {
  return readEntries('entry', text.split(','))
}

/** One `name=key` a line; blank lines and those that begin with `#` are skipped. */
export function parseClientLines(text: string): ClientList {
  const lines = text.split('\n').map((line) => line.trim())
  return readEntries(
    'line',
    lines.map((line) => (line.startsWith('#') ? '' : line)),
  )
}

/** The mistakes as one text, of bounded length. */
export function formatProblems(mistakes: readonly string[]): string {
  const told = mistakes.slice(0, 10)
  const more = mistakes.length - told.length
  return [...told, ...(more > 0 ? [`${more} more mistakes`] : [])].join('; ')
}

function readEntries(unit: string, texts: readonly string[]): ClientList {
  const keyOf = new Map<string, string>()
  const keys = new Set<string>()
  const mistakes: string[] = []
  for (const [i, text] of texts.entries()) {
    const entry = text.trim()
    if (entry === '') continue
    const [name, key] = split(entry)
    const faults = faultsOf(name, key)
    if (keyOf.has(name)) faults.push('the name was used before')
    if (key !== undefined && keys.has(key)) faults.push('the key was used before')
    mistakes.push(...faults.map((fault) => `${unit} ${i + 1}: ${fault}`))
    keyOf.set(name, key ?? '')
    if (key !== undefined) keys.add(key)
  }
  if (keyOf.size === 0) mistakes.push('there is no client')
  if (keyOf.size > MAX_CLIENTS) mistakes.push(`there are more than ${MAX_CLIENTS} clients`)
  return { clients: [...keyOf].map(([name, key]) => ({ name, key })), problems: mistakes }
}

function split(entry: string): [name: string, key?: string] {
  const at = entry.indexOf('=')
  return at === -1 ? [entry] : [entry.slice(0, at), entry.slice(at + 1)]
}

function faultsOf(name: string, key: string | undefined): string[] {
  if (key === undefined) return ['name=key is expected']
  const faults: string[] = []
  if (!NAME.test(name)) faults.push('a name is 1 to 32 of a-z, 0-9 and -')
  if (name === RESERVED_NAME) faults.push('this name is what the metrics call requests of nobody')
  if (!KEY.test(key)) faults.push('a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~')
  return faults
}
