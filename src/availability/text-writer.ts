/** Characters of the first chunk: enough for a usual station. */
const INITIAL_LENGTH = 4_096
/** Characters of the others. */
const CHUNK_LENGTH = 65_536
const MAX_LATIN1 = 0xff

/**
 * Collects a text in a buffer of one chunk. A string that grows piece by piece leaves an object for each piece: for a text
 * of a megabyte the collection of that garbage takes ten times as long as the writing. One byte per character, or two in
 * a chunk with a character that is not Latin-1.
 */
export class TextWriter {
  readonly #maxLength: number
  readonly #onOverflow: () => never
  readonly #chunks: string[] = []
  #units: Uint8Array | Uint16Array = Buffer.allocUnsafe(INITIAL_LENGTH)
  /** Characters in the buffer. */
  #count = 0
  /** Characters in the chunks. */
  #length = 0

  /** @param onOverflow throws; called at the end of the first chunk that makes the text longer than `maxLength` */
  constructor(maxLength: number, onOverflow: () => never) {
    this.#maxLength = maxLength
    this.#onOverflow = onOverflow
  }

  append(text: string): void {
    for (let i = 0; i < text.length; i++) this.put(text.charCodeAt(i))
  }

  /** Appends one UTF-16 unit. */
  put(code: number): void {
    if (this.#count === this.#units.length) this.#nextChunk()
    if (code > MAX_LATIN1 && this.#units instanceof Uint8Array) this.#units = Uint16Array.from(this.#units)
    this.#units[this.#count++] = code
  }

  toString(): string {
    this.#endChunk()
    return this.#chunks.join('')
  }

  #nextChunk(): void {
    this.#endChunk()
    if (this.#units.length < CHUNK_LENGTH || this.#units instanceof Uint16Array)
      this.#units = new Uint8Array(CHUNK_LENGTH)
    this.#count = 0
  }

  #endChunk(): void {
    this.#length += this.#count
    if (this.#length > this.#maxLength) this.#onOverflow()
    const { buffer, byteOffset, BYTES_PER_ELEMENT } = this.#units
    const bytes = Buffer.from(buffer, byteOffset, this.#count * BYTES_PER_ELEMENT)
    this.#chunks.push(bytes.toString(BYTES_PER_ELEMENT === 1 ? 'latin1' : 'utf16le'))
  }
}
