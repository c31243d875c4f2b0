import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import { validateRequest } from '../../src/http/validate-request.ts'

/** `ok` or the error's sentence, and whether the connection is kept. */
function outcome(rawHeaders: string[], { method = 'GET', httpVersion = '1.1' } = {}) {
  const pairs = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 ? [[name.toLowerCase(), rawHeaders[i + 1]]] : [],
  )
  const request = { rawHeaders, headers: Object.fromEntries(pairs), method, httpVersion }
  const response = { shouldKeepAlive: true }
  try {
    validateRequest(request as unknown as IncomingMessage, response as ServerResponse)
    return ['ok', response.shouldKeepAlive]
  } catch (error) {
    return [(error as { detail: string }).detail, response.shouldKeepAlive]
  }
}

const HOST_RULE = 'Exactly one Host header is required.'

await t.test('HTTP/1.1 requires exactly one Host header, in any case', async (t) => {
  t.strictSame(
    [
      outcome(['Host', 'a']),
      outcome(['HOST', 'a']),
      outcome([]),
      outcome(['Host', 'a', 'host', 'a']),
      outcome(['X-Note', 'Host']),
    ],
    [
      ['ok', true],
      ['ok', true],
      [HOST_RULE, true],
      [HOST_RULE, true],
      [HOST_RULE, true],
    ],
  )
})

await t.test('HTTP/1.0 allows a request without a Host header, and not two of them', async (t) => {
  const old = { httpVersion: '1.0' }
  t.strictSame(
    [outcome([], old), outcome(['Host', 'a', 'Host', 'b'], old)],
    [
      ['ok', true],
      [HOST_RULE, true],
    ],
  )
})

await t.test('the connection of a request with a body is closed, and a GET must not have one', async (t) => {
  const post = { method: 'POST' }
  const rule = 'A GET request must not have a body.'
  t.strictSame(
    [
      outcome(['Host', 'a', 'Content-Length', '0']),
      outcome(['Host', 'a', 'Content-Length', '5']),
      outcome(['Host', 'a', 'Transfer-Encoding', 'chunked']),
      outcome(['Host', 'a', 'Content-Length', '5'], post),
      outcome(['Content-Length', '5'], post),
    ],
    [
      ['ok', true],
      [rule, false],
      [rule, false],
      ['ok', false],
      [HOST_RULE, false],
    ],
  )
})
