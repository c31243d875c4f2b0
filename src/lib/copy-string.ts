/**
 * The same text in memory of its own. In V8 a slice keeps the whole string alive that it was cut from: a station id of
 * 36 characters would keep a request target of 16 KB. For parts of requests and errors that outlive them.
 */
export function copyString(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le') // UTF-8 would lose lone surrogates
}
