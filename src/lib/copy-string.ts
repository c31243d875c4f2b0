/**
 * The same text in memory of its own. V8 lets a slice keep alive the whole text that it was cut from: a station's id of
 * 36 characters its request's target of 16 KB. For what is cut from requests and errors, and kept after they are gone.
 */
export function copyString(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le') // UTF-8 would lose half pairs
}
