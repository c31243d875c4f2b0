import { hash } from 'node:crypto'
import type { Filter } from '../../availability/query.ts'
import type { LookupResult } from '../../cache/cache.ts'
import { ServiceError, TOO_MUCH_WAITS } from '../../errors.ts'
import { MAX_TURN_MS } from '../../lib/turns.ts'
import { renderError } from '../error-body.ts'

/** What one item of a batch is answered with. */
export type ItemResult = { readonly result: LookupResult; readonly filter: Filter } | ServiceError

export interface BatchBody {
  readonly text: string
  /** The number of bytes in UTF-8. */
  readonly length: number
  /** Of the uncompressed body; strong, quotes included. */
  readonly etag: string
  /** The age of the oldest answer in ms; null without an answer. */
  readonly oldestMs: number | null
}

/** Largest sum of the items of a batch, as of a single answer; an item for which there is no room is an error. */
export const MAX_BATCH_BYTES = 4 * 2 ** 20
/** Memory of a byte of an item: its own rendering, and the body that is made of all of them. */
const COPIES = 2

export interface BatchSteps {
  /** Resolves in another turn of the event loop; called when the present one has taken long. */
  readonly nextTurn: () => Promise<void>
  /** Takes bytes of memory for as long as the batch is not sent; an item for which there are none is a 503. */
  readonly tryTake: (bytes: number) => boolean
  /** Called for each item that is a 503 because there is no room for what waits. */
  readonly onOverload: () => void
}

/**
 * `{"formatVersion","batchItems":[{"statusCode","response"}],"summary"}` in the order of the items. The parts are the
 * cached renderings, so nothing is serialised here; the entity tag is made of the tags of the parts.
 */
export async function renderBatch(
  items: readonly ItemResult[],
  { nextTurn, tryTake, onOverload }: BatchSteps,
): Promise<BatchBody> {
  const parts: string[] = []
  let bytes = 0
  let characters = 0
  let tags = ''
  let oldestMs: number | null = null
  let successful = 0
  let turnStart = performance.now()
  for (const item of items) {
    const rendered = renderItem(item, MAX_BATCH_BYTES - bytes)
    const part = tryTake(COPIES * rendered.length) ? rendered : errorPart(TOO_MUCH_WAITS)
    if (part.error === TOO_MUCH_WAITS) onOverload()
    parts.push(part.text)
    characters += part.text.length
    bytes += part.length
    tags += part.tag
    if (part.ageMs !== null) {
      oldestMs = Math.max(oldestMs ?? 0, part.ageMs)
      successful++
    }
    if (performance.now() - turnStart < MAX_TURN_MS) continue
    await nextTurn()
    turnStart = performance.now()
  }
  const summary = `{"successfulRequests":${successful},"totalRequests":${items.length}}`
  const text = `{"formatVersion":"0.0.1","batchItems":[${parts.join(',')}],"summary":${summary}}`
  return { text, length: text.length + bytes - characters, etag: entityTag(tags), oldestMs }
}

interface Part {
  readonly text: string
  /** The number of bytes in UTF-8. */
  readonly length: number
  readonly tag: string
  /** Null for an error. */
  readonly ageMs: number | null
  /** Null for an answer. */
  readonly error: ServiceError | null
}

function renderItem(item: ItemResult, room: number): Part {
  if (item instanceof ServiceError) return errorPart(item)
  const { answer, ageMs } = item.result
  try {
    const { body, length, etag } = answer.render(item.filter, 'json', false)
    const part = { text: `{"statusCode":200,"response":${body}}`, tag: etag, ageMs, error: null }
    const total = part.text.length + length - body.length
    return total <= room ? { ...part, length: total } : errorPart(tooLarge())
  } catch (error) {
    if (error instanceof ServiceError) return errorPart(error)
    throw error // a defect: it is logged, and the whole is 500
  }
}

function errorPart(error: ServiceError): Part {
  const body = renderError(error, 'json')
  const text = `{"statusCode":${error.status},"response":${body}}`
  return { text, length: Buffer.byteLength(text), tag: body, ageMs: null, error }
}

function tooLarge(): ServiceError {
  return new ServiceError('UpstreamFailed', { reason: 'the answers of the batch are larger than allowed' })
}

function entityTag(text: string): string {
  return `"${hash('sha256', text, 'buffer').toString('base64url', 0, 16)}"`
}
