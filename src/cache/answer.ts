import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { Outline } from '../availability/filter.ts'
import { EVERYTHING, filterAvailability, isOpen, outlineOf, survivors } from '../availability/filter.ts'
import { renderJson } from '../availability/json.ts'
import type { Availability, Format } from '../availability/model.ts'
import type { Filter } from '../availability/query.ts'
import { renderXml } from '../availability/xml.ts'

/** A body ready to be sent, in one content coding. */
export interface Rendering {
  readonly body: string | Buffer
  /** How a string becomes bytes: Latin-1 where that is the same as UTF-8, for Node writes it together with the head. */
  readonly encoding: 'latin1' | 'utf8'
  /** Bytes on the wire. */
  readonly length: number
  /** Strong, quotes included; differs per content coding (RFC 9110, 8.8.3). */
  readonly etag: string
  readonly gzipped: boolean
}

/** A filter's result in one format, plain and, once somebody asked for it, compressed. */
interface Variant {
  readonly plain: Rendering
  gzip: Rendering | null
}

/** Most variants kept with one answer; the oldest goes. Random filters give at most 18 for a real station. */
export const MAX_VARIANTS = 32

/** What an entry costs beside its texts: objects, map and list slots, measured by bench/memory. */
const ENTRY_BYTES = 400
const VARIANT_BYTES = 300

/**
 * Upstream's unfiltered answer for a station, and all that was made of it: each rendering is made once, kept
 * under what survives the filter, and dies with the answer. The parsed form is not kept: as text it takes a
 * quarter of the memory, and it is read again only for a variant that was never asked before.
 */
export class Answer {
  readonly id: string
  /** A station without connectors: an id that upstream does not know. */
  readonly isEmpty: boolean
  /** Bytes of memory this answer holds, renderings included. */
  bytes: number
  /** Told when `bytes` has grown. */
  onGrowth: ((answer: Answer) => void) | null = null
  readonly #json: string
  #outline: Outline | null = null
  #variants: Map<string, Variant> | null = null

  constructor(availability: Availability) {
    this.id = availability.chargingAvailability
    this.isEmpty = availability.connectors.length === 0
    this.#json = renderJson(availability)
    this.bytes = ENTRY_BYTES + stringBytes(this.#json)
  }

  /** The unfiltered answer as JSON text. */
  get json(): string {
    return this.#json
  }

  /** What the filter leaves, in this format; compressed if asked. */
  render(filter: Filter, format: Format, gzip: boolean): Rendering {
    const variant = this.#variant(filter, format)
    if (!gzip) return variant.plain
    variant.gzip ??= this.#compress(variant.plain)
    return variant.gzip
  }

  #variant(filter: Filter, format: Format): Variant {
    const kept = this.#survivors(filter)
    const key = format + kept
    const known = this.#variants?.get(key)
    if (known !== undefined) return known
    const made: Variant = { plain: identity(this.#write(filter, format, kept)), gzip: null }
    this.#keep(key, made)
    return made
  }

  #survivors(filter: Filter): string {
    if (isOpen(filter)) return EVERYTHING
    if (this.#outline === null) {
      this.#outline = outlineOf(this.#parse())
      this.#grow(outlineBytes(this.#outline))
    }
    return survivors(this.#outline, filter)
  }

  #write(filter: Filter, format: Format, kept: string): string {
    if (format === 'json' && kept === EVERYTHING) return this.#json
    const left = kept === EVERYTHING ? this.#parse() : filterAvailability(this.#parse(), filter)
    const text = format === 'json' ? renderJson(left) : renderXml(left)
    return text === this.#json ? this.#json : text // a bound that takes nothing away needs no second copy
  }

  #keep(key: string, variant: Variant): void {
    const variants = (this.#variants ??= new Map())
    for (const [oldest, { plain, gzip }] of variants) {
      if (variants.size < MAX_VARIANTS) break
      variants.delete(oldest)
      this.#grow(-this.#variantBytes(plain) - (gzip?.length ?? 0))
    }
    variants.set(key, variant)
    this.#grow(this.#variantBytes(variant.plain))
  }

  #compress(plain: Rendering): Rendering {
    const body = exactly(gzipSync(plain.body))
    this.#grow(body.length)
    const etag = `${plain.etag.slice(0, -1)}-gzip"`
    return { body, encoding: 'latin1', length: body.length, etag, gzipped: true }
  }

  /** The whole answer in JSON shares its text with the answer itself. */
  #variantBytes({ body }: Rendering): number {
    return VARIANT_BYTES + (body === this.#json ? 0 : stringBytes(String(body)))
  }

  #parse(): Availability {
    return JSON.parse(this.#json) as Availability
  }

  #grow(bytes: number): void {
    this.bytes += bytes
    this.onGrowth?.(this)
  }
}

function identity(body: string): Rendering {
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  const length = Buffer.byteLength(body)
  const encoding = length === body.length ? 'latin1' : 'utf8'
  return { body, encoding, length, etag: `"${hash}"`, gzipped: false }
}

/** The bytes alone: what zlib returns is a view of a 16 KB buffer, which would stay alive with it, uncounted. */
function exactly(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}

/** V8 keeps a string in one byte a character while all are Latin-1, else in two. */
function stringBytes(text: string): number {
  return /[\u0100-\uffff]/.test(text) ? text.length * 2 : text.length
}

function outlineBytes(outline: Outline): number {
  return outline.reduce((sum, { powers }) => sum + 120 + powers.length * 16, 64)
}
