import { hash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { FilterIndex } from '../availability/filter.ts'
import { UNFILTERED, filterAvailability, isUnfiltered, indexOf, variantKey } from '../availability/filter.ts'
import { renderJson } from '../availability/json.ts'
import type { Availability, Format } from '../availability/model.ts'
import type { Filter } from '../availability/query.ts'
import { renderXml } from '../availability/xml.ts'

/** A body ready to be sent, in one content coding. */
export interface Rendering {
  readonly body: string
  /**
   * How it becomes bytes: Latin-1 where that is the same as UTF-8, and for compressed bytes, one a character. Node
   * writes a string together with the head and a buffer beside it, and a buffer takes 200 bytes of memory more.
   */
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

/** What requests have had made of an answer. */
interface RenderCache {
  /** Null until the first filter. */
  outline: FilterIndex | null
  readonly variants: Map<string, Variant>
}

/**
 * Most variants kept with one answer; the oldest goes. Random filters in both formats give about 50 for the station of
 * bench/lib/stations.mjs; with room for fewer than there are, every other request would render anew.
 */
export const MAX_VARIANTS = 64

/**
 * What things take beside their texts, in bytes (bench/parts/memory.mjs, V8 on 64 bits): an entry with its places in map
 * and list 260, and 50 more once the process is 24 days old (wholeMs); a variant 210 to 360, the first 460, for it brings
 * the map; its compressed form 120.
 */
const ENTRY_BYTES = 310
const VARIANT_BYTES = 330
const GZIP_BYTES = 120

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
  #made: RenderCache | null = null

  constructor(availability: Availability) {
    this.id = availability.chargingAvailability
    this.isEmpty = availability.connectors.length === 0
    this.#json = renderJson(availability)
    this.bytes = ENTRY_BYTES + stringBytes(this.id) + stringBytes(this.#json)
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
    const made = (this.#made ??= { outline: null, variants: new Map() })
    const kept = isUnfiltered(filter) ? UNFILTERED : variantKey(this.#outline(made), filter)
    const key = format + kept
    const known = made.variants.get(key)
    if (known !== undefined) return known
    const variant: Variant = { plain: identity(this.#write(filter, format, kept)), gzip: null }
    this.#keep(made.variants, key, variant)
    return variant
  }

  #outline(made: RenderCache): FilterIndex {
    if (made.outline === null) {
      made.outline = indexOf(this.#parse())
      this.#grow(outlineBytes(made.outline))
    }
    return made.outline
  }

  #write(filter: Filter, format: Format, kept: string): string {
    if (format === 'json' && kept === UNFILTERED) return this.#json
    const left = kept === UNFILTERED ? this.#parse() : filterAvailability(this.#parse(), filter)
    const text = format === 'json' ? renderJson(left) : renderXml(left)
    return text === this.#json ? this.#json : text // a bound that takes nothing away needs no second copy
  }

  #keep(variants: Map<string, Variant>, key: string, variant: Variant): void {
    for (const [oldest, { plain, gzip }] of variants) {
      if (variants.size < MAX_VARIANTS) break
      variants.delete(oldest)
      this.#grow(-this.#variantBytes(plain) - (gzip === null ? 0 : gzipBytes(gzip)))
    }
    variants.set(key, variant)
    this.#grow(this.#variantBytes(variant.plain))
  }

  #compress(plain: Rendering): Rendering {
    const body = gzipSync(plain.body).toString('latin1')
    const etag = `${plain.etag.slice(0, -1)}-gzip"`
    const gzip: Rendering = { body, encoding: 'latin1', length: body.length, etag, gzipped: true }
    this.#grow(gzipBytes(gzip))
    return gzip
  }

  /** The whole answer in JSON shares its text with the answer itself. */
  #variantBytes({ body }: Rendering): number {
    return VARIANT_BYTES + (body === this.#json ? 0 : stringBytes(body))
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
  // Bytes first: the slice of a longer text would keep all of it alive.
  const digest = hash('sha256', body, 'buffer').toString('base64url', 0, 16)
  const length = Buffer.byteLength(body)
  const encoding = length === body.length ? 'latin1' : 'utf8'
  return { body, encoding, length, etag: `"${digest}"`, gzipped: false }
}

function gzipBytes({ length }: Rendering): number {
  return GZIP_BYTES + length
}

/** V8 keeps a string in one byte a character while all are Latin-1, else in two. */
function stringBytes(text: string): number {
  return /[\u0100-\uffff]/.test(text) ? text.length * 2 : text.length
}

function outlineBytes(outline: FilterIndex): number {
  return outline.reduce((sum, { powers }) => sum + 120 + powers.length * 16, 64)
}
