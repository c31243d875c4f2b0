import { fstatSync, readSync } from 'node:fs'
import { ensure, Fault } from './page-layout.ts'

/** The bytes of a file. */
export interface ByteSource {
  size(): number
  /**
   * Fills `bytes` from this position on.
   * @returns how many the file has
   * @throws Fault if the disk cannot read them
   */
  read(bytes: Buffer, at: number): number
}

/** @param file - a descriptor */
export function byteSource(file: number): ByteSource {
  return {
    size: () => fstatSync(file).size,
    read(bytes, at) {
      try {
        return readSync(file, bytes, 0, bytes.length, at)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EIO') throw new Fault()
        throw error
      }
    },
  }
}

/** A store file by page. */
export class PageFile {
  /** As many as it has in full. */
  readonly pages: number
  readonly #source: ByteSource
  readonly #pageSize: number
  #scanned = Buffer.alloc(0)

  constructor(source: ByteSource, pageSize: number) {
    this.#source = source
    this.#pageSize = pageSize
    this.pages = Math.floor(source.size() / pageSize)
  }

  /** @throws Fault if the file ends before */
  read(first: number, pages = 1): Buffer {
    ensure(first + pages <= this.pages)
    const bytes = Buffer.alloc(pages * this.#pageSize)
    ensure(this.#source.read(bytes, first * this.#pageSize) === bytes.length)
    return bytes
  }

  /** The pages that the file has of these. They are overwritten by the next call. */
  scan(first: number, pages: number): Buffer {
    const length = pages * this.#pageSize
    if (this.#scanned.length !== length) this.#scanned = Buffer.alloc(length)
    const read = this.#source.read(this.#scanned, first * this.#pageSize)
    return this.#scanned.subarray(0, read - (read % this.#pageSize))
  }
}
