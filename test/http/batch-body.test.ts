import t from 'tap'
import type { Answer } from '../../src/cache/answer.ts'
import { ServiceError, TOO_MUCH_WAITS } from '../../src/errors.ts'
import { RenderingTooLargeError } from '../../src/availability/xml.ts'
import type { ItemResult } from '../../src/http/batch/batch-body.ts'
import { MAX_BATCH_BYTES, renderBatch } from '../../src/http/batch/batch-body.ts'
import { ByteBudget } from '../../src/lib/byte-budget.ts'
import { NO_FILTER } from '../support/arbitraries.ts'

const later = { nextTurn: async () => {}, tryTake: () => true, onOverload: () => {} }

/** An item whose rendering is this text; `onRender` runs while it is made. */
function itemOf(body: string, onRender = () => {}): ItemResult {
  const render = () => {
    onRender()
    return { body, encoding: 'utf8', length: Buffer.byteLength(body), etag: '"x"', gzipped: false }
  }
  return { result: { answer: { render } as unknown as Answer, ageMs: 0 }, filter: NO_FILTER } as never
}

interface Body {
  readonly batchItems: { readonly statusCode: number; readonly response: unknown }[]
  readonly summary: { readonly successfulRequests: number }
}

const statusesOf = (text: string) => (JSON.parse(text) as Body).batchItems.map(({ statusCode }) => statusCode)

await t.test(
  'a batch whose items are slow to render is rendered in several turns of the event loop',
  async (t) => {
    const slow = () => {
      for (const end = performance.now() + 11; performance.now() < end;);
    }
    const turnsFor = async (onRender: () => void) => {
      let turns = 0
      await renderBatch(
        Array.from({ length: 5 }, () => itemOf('{}', onRender)),
        { ...later, nextTurn: async () => void turns++ },
      )
      return turns
    }
    t.equal(await turnsFor(slow), 5)
    t.ok((await turnsFor(() => {})) < 5)
  },
)

await t.test('what the next turn rejects with ends a batch', async (t) => {
  const slow = itemOf('{}', () => {
    for (const end = performance.now() + 11; performance.now() < end;);
  })
  const gone = { ...later, nextTurn: () => Promise.reject(new Error('the client has left')) }
  await t.rejects(renderBatch([slow], gone), /the client has left/)
})

await t.test(
  'an item for which a batch has no room is 502, and smaller ones after it are answered',
  async (t) => {
    const wrapping = '{"statusCode":200,"response":}'.length
    const statuses = await Promise.all(
      [-1, 0, 1].map(async (more) => {
        const long = `"${'é'.repeat((MAX_BATCH_BYTES - 2 * wrapping - 6) / 2)}${'x'.repeat(2 + more)}"`
        const { text, length } = await renderBatch([itemOf('{}'), itemOf(long), itemOf('{}')], later)
        return [length === Buffer.byteLength(text), ...statusesOf(text)]
      }),
    )
    t.strictSame(statuses, [
      [true, 200, 200, 502],
      [true, 200, 200, 502],
      [true, 200, 502, 200],
    ])
  },
)

await t.test('an answer that is too large to be rendered is an item with an error', async (t) => {
  const tooLarge = itemOf('', () => {
    throw new RenderingTooLargeError()
  })
  const { text } = await renderBatch([tooLarge, itemOf('{}')], later)
  t.strictSame(statusesOf(text), [502, 200])
  t.match(text, /"code":"UpstreamFailed"/)
  t.equal((JSON.parse(text) as Body).summary.successfulRequests, 1)
})

await t.test(
  'an unexpected error while an item is rendered ends the batch, so that it is logged',
  async (t) => {
    const broken = itemOf('', () => {
      throw new TypeError('a defect')
    })
    await t.rejects(renderBatch([broken, itemOf('{}')], later), /a defect/)
  },
)

await t.test(
  'an item for whose memory there is no room beside what waits is a 503 that is reported',
  async (t) => {
    const item = itemOf(JSON.stringify('x'.repeat(1_000)))
    const { length } = '{"statusCode":200,"response":}' + JSON.stringify('x'.repeat(1_000))
    const seen = await Promise.all(
      [0, 1].map(async (less) => {
        const memory = new ByteBudget(2 * 2 * length - less).reserve(0)
        let overloads = 0
        const { text } = await renderBatch([item, item], {
          ...later,
          tryTake: (n) => memory?.tryGrow(n) ?? true,
          onOverload: () => overloads++,
        })
        return { statuses: statusesOf(text), overloads }
      }),
    )
    t.strictSame(seen, [
      { statuses: [200, 200], overloads: 0 },
      { statuses: [200, 503], overloads: 1 },
    ])
  },
)

await t.test('items whose lookups had no room are reported, and no other 503', async (t) => {
  const unavailable = new ServiceError('UpstreamUnavailable', { reason: 'the circuit is open' })
  let overloads = 0
  const { text } = await renderBatch([TOO_MUCH_WAITS, unavailable, TOO_MUCH_WAITS], {
    ...later,
    onOverload: () => overloads++,
  })
  t.strictSame({ statuses: statusesOf(text), overloads }, { statuses: [503, 503, 503], overloads: 2 })
})
