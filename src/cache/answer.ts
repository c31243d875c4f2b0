import type { FilterIndex, PowerFilter, VariantKey } from '../availability/filter.ts'
import { UNFILTERED, filterAvailability, isUnfiltered, indexOf, variantKey } from '../availability/filter.ts'
import { renderJson } from '../availability/json.ts'
import type { Availability, Format } from '../availability/model.ts'
import type { Filter } from '../availability/query.ts'
import { copyString } from '../lib/copy-string.ts'
import { RenderingTooLargeError, renderXml } from '../availability/xml.ts'
import type { Rendering } from './rendering.ts'
import { compress, gzipBytes, identity, RENDERING_BYTES, stringBytes } from './rendering.ts'

export type { Rendering } from './rendering.ts'

/** What was made of an answer so far, besides the unfiltered JSON. */
interface RenderCache {
  /** Null until the first filter. */
  index: FilterIndex | null
  /** By format and variant key; null if the rendering is larger than allowed. */
  readonly variants: Map<VariantKey, Rendering | null>
  /** The parsed form of a long answer, for as long as it is in memory. */
  parsed: WeakRef<Availability> | null
  /** Bytes of the variants. */
  bytes: number
}

/**
 * Maximum variants per answer; the oldest is dropped. Random filters in both formats give about 50 for the station of
 * bench/lib/stations.mjs. With a smaller maximum than there are variants, every other request would render again.
 */
export const MAX_VARIANTS = 64

/** Largest body that is made of an answer; a larger one is an error of upstream. A real station's takes a few KB. */
export const MAX_RENDERING_BYTES = 4 * 2 ** 20

/**
 * Maximum bytes of the variants of an answer besides the newest; the oldest are dropped. The cache's own bound does not
 * hold for an answer that a batch is using.
 */
export const MAX_VARIANTS_BYTES = 4 * 2 ** 20

/**
 * Characters of JSON from which on the parsed form is kept until V8 collects it: decoding and rendering a megabyte of
 * short texts takes half as long if it is parsed once.
 */
const MIN_LONG_JSON = 65_536

/**
 * Memory besides the texts, in bytes (measured by bench/parts/memory.mjs, V8 on 64 bits): an entry with its places in map
 * and list 339, and 48 more once the process is 24 days old (see floorMs); a rendering 120, the same for a compressed
 * one; with its place in the map 210 to 330, the first 460 as it brings the map.
 */
const ENTRY_BYTES = 388
const VARIANT_BYTES = 330

/**
 * Upstream's unfiltered answer for a station with its renderings. Each rendering is made once and kept under its variant
 * key for as long as the answer. The parsed form is not kept: as text it takes a quarter of the memory, and it is parsed
 * again only for a new variant.
 */
export class Answer {
  readonly id: string
  /** A station without connectors: an id that upstream does not know. */
  readonly isEmpty: boolean
  /** Bytes of memory that this answer takes, renderings included. */
  bytes: number
  /** Called when `bytes` has changed; null while nobody counts them. */
  #onGrowth: ((answer: Answer) => void) | null = null
  #isEvicted = false
  readonly #json: string
  readonly #powerFilter: PowerFilter
  /** The unfiltered answer in JSON, which most clients ask for: found without a search. */
  #whole: Rendering | null = null
  #rendered: RenderCache | null = null

  /**
   * @param availability is not changed later
   * @throws RenderingTooLargeError
   */
  constructor(availability: Availability, powerFilter: PowerFilter = 'recount') {
    this.#powerFilter = powerFilter
    this.id = availability.chargingAvailability
    this.isEmpty = availability.connectors.length === 0
    this.#json = renderJson(availability)
    if (Buffer.byteLength(this.#json) > MAX_RENDERING_BYTES) throw new RenderingTooLargeError()
    this.bytes = ENTRY_BYTES + stringBytes(this.id) + stringBytes(this.#json)
    if (this.#json.length >= MIN_LONG_JSON) this.#rendered = emptyRenderCache(new WeakRef(availability))
  }

  /** It is in the cache, which counts its bytes. */
  stored(onGrowth: (answer: Answer) => void): void {
    this.#onGrowth = onGrowth
    this.#isEvicted = false
  }

  /** It has left the cache. Requests that wait may still hold it, so from now on it keeps no rendering that it makes. */
  evicted(): void {
    this.#onGrowth = null
    this.#isEvicted = true
    this.dropRenderings()
  }

  /** Of `bytes`, those that `dropRenderings` frees. */
  get renderingBytes(): number {
    return this.#rendered?.bytes ?? 0
  }

  /** Makes them again when they are asked for. The unfiltered JSON stays. */
  dropRenderings(): void {
    this.bytes -= this.#rendered?.bytes ?? 0
    this.#rendered?.variants.clear()
    if (this.#rendered !== null) this.#rendered.bytes = 0
  }

  /** The unfiltered answer. Callers do not change it. */
  get availability(): Availability {
    return this.#parse()
  }

  /** The unfiltered answer as JSON text. */
  get json(): string {
    return this.#json
  }

  /**
   * The filtered answer in this format; compressed if `gzip`.
   * @throws RenderingTooLargeError
   */
  render(filter: Filter, format: Format, gzip: boolean): Rendering {
    const plain = this.#variant(filter, format)
    if (plain === null) throw new RenderingTooLargeError()
    return gzip ? this.compressed(plain) : plain
  }

  /** The compressed form of a rendering that `render` has just returned. */
  compressed(plain: Rendering): Rendering {
    if (plain.compressed !== null) return plain.compressed
    const gzip = compress(plain)
    if (this.#isEvicted) return gzip
    plain.compressed = gzip
    if (this.#rendered !== null && plain !== this.#whole) this.#rendered.bytes += gzipBytes(gzip)
    this.#grow(gzipBytes(gzip))
    return gzip
  }

  #variant(filter: Filter, format: Format): Rendering | null {
    const unfiltered = isUnfiltered(filter)
    if (unfiltered && format === 'json') return (this.#whole ??= this.#renderWhole())
    const rendered = (this.#rendered ??= emptyRenderCache(null))
    const parsed = unfiltered || rendered.index !== null ? null : this.#parse()
    const kept = unfiltered
      ? UNFILTERED
      : variantKey(this.#index(rendered, parsed), filter, this.#powerFilter)
    if (kept === UNFILTERED && format === 'json') return (this.#whole ??= this.#renderWhole())
    const key = keyOf(format, kept)
    const present = rendered.variants.get(key)
    if (present !== undefined) return present
    const text = this.#write(format, kept === UNFILTERED ? null : filter, parsed)
    const plain = text === null ? null : identity(text)
    // A text is made of many parts, which V8 would keep.
    this.#keep(rendered, typeof key === 'string' ? copyString(key) : key, plain)
    return plain
  }

  #renderWhole(): Rendering {
    this.#grow(RENDERING_BYTES)
    return identity(this.#json)
  }

  #index(rendered: RenderCache, parsed: Availability | null): FilterIndex {
    if (rendered.index === null) {
      rendered.index = indexOf(parsed ?? this.#parse())
      this.#grow(indexBytes(rendered.index))
    }
    return rendered.index
  }

  /** Null if the text is larger than allowed. */
  #write(format: Format, filter: Filter | null, parsed: Availability | null): string | null {
    const whole = parsed ?? this.#parse()
    const filtered = filter === null ? whole : filterAvailability(whole, filter, this.#powerFilter)
    const text = format === 'json' ? renderJson(filtered) : xmlOf(filtered)
    if (text === null || Buffer.byteLength(text) > MAX_RENDERING_BYTES) return null
    return text === this.#json ? this.#json : text // no second copy for a bound that removes nothing
  }

  #keep(rendered: RenderCache, key: VariantKey, plain: Rendering | null): void {
    if (this.#isEvicted) return
    const { variants } = rendered
    const bytes = this.#variantBytes(key, plain)
    let freed = 0
    for (const [oldest, dropped] of variants) {
      if (variants.size < MAX_VARIANTS && rendered.bytes - freed + bytes <= MAX_VARIANTS_BYTES) break
      variants.delete(oldest)
      freed += this.#variantBytes(oldest, dropped)
    }
    variants.set(key, plain)
    rendered.bytes += bytes - freed
    this.#grow(bytes - freed)
  }

  /** The JSON after a bound that removes nothing shares its text with the answer itself. */
  #variantBytes(key: VariantKey, plain: Rendering | null): number {
    const text = plain === null || plain.body === this.#json ? 0 : stringBytes(plain.body)
    const gzip = plain === null || plain.compressed === null ? 0 : gzipBytes(plain.compressed)
    return VARIANT_BYTES + (typeof key === 'string' ? key.length : 0) + text + gzip
  }

  #parse(): Availability {
    const present = this.#rendered?.parsed?.deref()
    if (present !== undefined) return present
    const parsed = JSON.parse(this.#json) as Availability
    if (this.#rendered?.parsed) this.#rendered.parsed = new WeakRef(parsed)
    return parsed
  }

  #grow(bytes: number): void {
    this.bytes += bytes
    this.#onGrowth?.(this)
  }
}

function emptyRenderCache(parsed: WeakRef<Availability> | null): RenderCache {
  return { index: null, variants: new Map(), parsed, bytes: 0 }
}

function xmlOf(availability: Availability): string | null {
  try {
    return renderXml(availability, MAX_RENDERING_BYTES)
  } catch (error) {
    if (error instanceof RenderingTooLargeError) return null
    throw error
  }
}

function keyOf(format: Format, kept: VariantKey): VariantKey {
  return typeof kept === 'string' ? format + kept : 2 * kept + (format === 'xml' ? 1 : 0)
}

function indexBytes(index: FilterIndex): number {
  return index.reduce((sum, { powers }) => sum + 120 + powers.length * 16, 64)
}
