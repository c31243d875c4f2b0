/** Capacity at the start, in characters: enough for a usual station. */
const INITIAL_CAPACITY = 4_096
const LATIN1_END = 0x100

/**
 * Collects a text in one buffer. A string that grows piece by piece leaves an object for each piece: for a text of a
 * megabyte the collection of that garbage takes ten times as long as the writing. One byte per character, or two from
 * the first character on that is not Latin-1.
 */
export class TextWriter {
  readonly #maxLength: number
  readonly #onOverflow: () => never
  #units: Uint8Array | Uint16Array = Buffer.allocUnsafe(INITIAL_CAPACITY)
  #length = 0

  /** @param onOverflow throws; called as soon as the text would outgrow its room and `maxLength` characters */
  constructor(maxLength: number, onOverflow: () => never) {
    this.#maxLength = maxLength
    this.#onOverflow = onOverflow
  }

  append(text: string): void {
    this.reserve(text.length)
    for (let i = 0; i < text.length; i++) this.put(text.charCodeAt(i))
  }

  /** Makes room for so many more characters. */
  reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#units.length) return
    if (needed > this.#maxLength) this.#onOverflow()
    const capacity = Math.max(needed, Math.min(this.#units.length * 2, this.#maxLength))
    this.#move(this.#units instanceof Uint16Array ? new Uint16Array(capacity) : new Uint8Array(capacity))
  }

  /** Appends one UTF-16 unit, for which there is room. */
  put(code: number): void {
    if (code >= LATIN1_END && this.#units instanceof Uint8Array)
      this.#move(new Uint16Array(this.#units.length))
    this.#units[this.#length++] = code
  }

  toString(): string {
    const { buffer, byteOffset, BYTES_PER_ELEMENT } = this.#units
    if (this.#length > this.#maxLength) this.#onOverflow()
    const bytes = Buffer.from(buffer, byteOffset, this.#length * BYTES_PER_ELEMENT)
    return bytes.toString(BYTES_PER_ELEMENT === 1 ? 'latin1' : 'utf16le')
  }

  #move(units: Uint8Array | Uint16Array): void {
    units.set(this.#units.subarray(0, this.#length))
    this.#units = units
  }
}
