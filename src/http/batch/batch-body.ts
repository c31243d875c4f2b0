import { hash } from 'node:crypto'
import type { Filter } from '../../availability/query.ts'
import type { LookupResult } from '../../cache/cache.ts'
import { ServiceError } from '../../errors.ts'
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

/**
 * `{"formatVersion","batchItems":[{"statusCode","response"}],"summary"}` in the order of the items. The parts are the
 * cached renderings, so nothing is serialised here; the entity tag is made of the tags of the parts.
 */
export function renderBatch(items: readonly ItemResult[]): BatchBody {
  let text = ''
  let extraBytes = 0
  let tags = ''
  let oldestMs: number | null = null
  let successful = 0
  for (const item of items) {
    text += text === '' ? '' : ','
    if (item instanceof ServiceError) {
      const error = renderError(item, 'json')
      text += `{"statusCode":${item.status},"response":${error}}`
      tags += error
      continue
    }
    const { body, length, etag } = item.result.answer.render(item.filter, 'json', false)
    text += `{"statusCode":200,"response":${body}}`
    extraBytes += length - body.length
    tags += etag
    oldestMs = Math.max(oldestMs ?? 0, item.result.ageMs)
    successful++
  }
  const summary = `{"successfulRequests":${successful},"totalRequests":${items.length}}`
  const whole = `{"formatVersion":"0.0.1","batchItems":[${text}],"summary":${summary}}`
  return { text: whole, length: whole.length + extraBytes, etag: entityTag(tags), oldestMs }
}

function entityTag(text: string): string {
  return `"${hash('sha256', text, 'buffer').toString('base64url', 0, 16)}"`
}
