import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import t from 'tap'
import { isValidGet, validateRequest } from '../../src/http/validate-request.ts'
import type { Connection } from '../../src/lib/connection.ts'
import { assignConnection } from '../../src/lib/connection.ts'
import { MAX_HEADERS, MIN_MAX_HEADERS } from '../../src/lib/head-limits.ts'

interface RequestLine {
  readonly method?: string
  readonly httpVersion?: string
  /** Headers that a request of its connection may have. */
  readonly maxHeaders?: number
}

function requestWith(
  rawHeaders: string[],
  { method = 'GET', httpVersion = '1.1', maxHeaders = MAX_HEADERS }: RequestLine = {},
): IncomingMessage {
  const pairs = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 ? [[name.toLowerCase(), rawHeaders[i + 1]]] : [],
  )
  const socket = new Socket()
  assignConnection(socket, { maxHeaders } as Connection)
  const request = { rawHeaders, headers: Object.fromEntries(pairs), method, httpVersion, socket }
  return request as unknown as IncomingMessage
}

/** `ok` or the error's sentence, and whether the connection is kept. */
function outcome(...request: Parameters<typeof requestWith>) {
  const response = { shouldKeepAlive: true }
  try {
    validateRequest(requestWith(...request), response as ServerResponse)
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

await t.test('a valid GET is one that passes and keeps its connection', async (t) => {
  const host = ['Host', 'a']
  const withHeaders = (count: number) => [...host, ...Array.from({ length: 2 * (count - 1) }, () => 'x')]
  const requests: readonly Parameters<typeof requestWith>[] = [
    [host],
    [[], { httpVersion: '1.0' }],
    [[...host, 'Content-Length', '0']],
    [withHeaders(MAX_HEADERS - 1)],
    [withHeaders(MAX_HEADERS)],
    [withHeaders(MAX_HEADERS + 1)],
    [withHeaders(MIN_MAX_HEADERS), { maxHeaders: MIN_MAX_HEADERS }],
    [withHeaders(MIN_MAX_HEADERS + 1), { maxHeaders: MIN_MAX_HEADERS }],
    [[]],
    [[...host, ...host]],
    [host, { httpVersion: '2.0' }],
    [[...host, 'Content-Length', '1']],
    [[...host, 'Transfer-Encoding', 'chunked']],
    [[...host, 'Upgrade', 'h2c']],
  ]
  const valid = requests.map((request) => isValidGet(requestWith(...request)))
  const isValid = [true, true, true, true, true, false, true, false, false, false, false, false, false, false]
  t.strictSame(valid, isValid)
  t.strictSame(
    requests.map((request) => outcome(...request).every((part) => part === 'ok' || part === true)),
    valid,
  )
  t.equal(isValidGet(requestWith(host, { method: 'HEAD' })), false)
})
