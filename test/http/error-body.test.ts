import t from 'tap'
import { missingParameter, ServiceError } from '../../src/errors.ts'
import { errorFormat, renderError, renderErrorResponse } from '../../src/http/error-body.ts'

const REQUEST = { target: '/a.xml?b', trackingId: 'mine', origin: undefined }

await t.test('an error is rendered in the two shapes of the reference', async (t) => {
  const error = missingParameter('a<b')
  t.equal(
    renderError(error, 'json'),
    `{"message":"Missing parameter 'a<b'","detailedError":{"code":"MissingParameter","message":"Missing required parameter 'a<b'."},"httpStatusCode":"400"}`,
  )
  t.equal(
    renderError(error, 'xml'),
    `<ErrorEvResponse><message>Missing parameter 'a&lt;b'</message><detailedError><code>MissingParameter</code><message>Missing required parameter 'a&lt;b'.</message></detailedError></ErrorEvResponse>`,
  )
})

await t.test('the format is XML for a path that ends in .xml, else JSON', async (t) => {
  const targets = ['/a.xml', '/a.xml?b', '/a.json', '/a?b.xml', '/a.XML', '']
  t.strictSame(targets.map(errorFormat), ['xml', 'xml', 'json', 'json', 'json', 'json'])
})

await t.test('an error response has the headers of its error, its format and its request', async (t) => {
  const { headers, body } = renderErrorResponse(new ServiceError('NotFound'), REQUEST, '*')
  t.strictSame(headers, {
    vary: 'Accept-Encoding',
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'Tracking-ID, Retry-After, Age, Cache-Status, ETag',
    'cache-control': 'no-store',
    'content-type': 'application/xml; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'tracking-id': 'mine',
  })
  t.equal(body, renderError(new ServiceError('NotFound'), 'xml'))
})

await t.test('Allow names HEAD where it is served', async (t) => {
  const allow = (target: string) =>
    renderErrorResponse(new ServiceError('MethodNotAllowed'), { ...REQUEST, target }, '*').headers['allow']
  t.strictSame(
    [
      '/search/2/chargingAvailability.json?chargingAvailability=a',
      '/search/2/chargingAvailability.xml',
      'host.example:443',
      '/search/2/batch/sync.json?key=a',
      '/healthz',
      '/docs/docs.js?a',
      '/events',
    ].map(allow),
    [
      'GET, OPTIONS',
      'GET, OPTIONS',
      'GET, OPTIONS',
      'POST, OPTIONS',
      'GET, HEAD, OPTIONS',
      'GET, HEAD, OPTIONS',
      'GET, HEAD, OPTIONS',
    ],
  )
})

await t.test('Retry-After is in whole seconds, rounded up, and at least 1', async (t) => {
  const retryAfter = (retryAfterMs: number) =>
    renderErrorResponse(new ServiceError('TooManyRequests', { retryAfterMs }), REQUEST, '*').headers[
      'retry-after'
    ]
  t.strictSame([0, 1, 1_000, 1_001, 59_999].map(retryAfter), ['1', '1', '1', '2', '60'])
})
