import t from 'tap'
import { sendBytes } from '../support/raw-http.ts'
import { startService } from '../support/service.ts'

const CLOSE = 'Connection: close\r\n\r\n'

await t.test('every error of the admin listener has the documented shape and nosniff', async (t) => {
  const { proxy } = await startService(t)
  const requests: readonly (readonly [number, string])[] = [
    [400, 'no HTTP\r\n\r\n'],
    [400, `GET /livez HTTP/1.1\r\nHost: a\r\nBad Header\r\n${CLOSE}`],
    [400, `GET /livez HTTP/2.0\r\nHost: a\r\n${CLOSE}`],
    [400, `GET /%zz HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    [431, `GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n${CLOSE}`],
    [404, `GET /nothing HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    [405, `POST /metrics HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    [400, `DELETE /status/station HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
  ]
  const found = await Promise.all(
    requests.map(async ([, bytes]) => {
      const { status, headers, body } = await sendBytes(proxy.addresses.admin.port, bytes)
      const { httpStatusCode, detailedError, message } = JSON.parse(body) as Record<string, unknown>
      const hasShape = typeof message === 'string' && typeof detailedError === 'object'
      const isJson = headers['content-type'] === 'application/json; charset=utf-8'
      return [status, httpStatusCode, hasShape, isJson, headers['x-content-type-options']]
    }),
  )
  t.strictSame(
    found,
    requests.map(([status]) => [status, String(status), true, true, 'nosniff']),
  )
})
