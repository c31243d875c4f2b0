import { METHODS } from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { commonHeaderProblems, errorResponseProblems, list } from '../support/error-response.ts'
import { startService } from '../support/service.ts'
import { problemsByCase } from './cases.ts'

await t.test('methods', async (t) => {
  const { get, request, upstream } = await startService(t)
  const notAllowed = { status: 405, code: 'MethodNotAllowed' }

  await t.test('every method except GET and OPTIONS is a 405 with Allow, in both formats', async (t) => {
    const others = METHODS.filter((method) => !['GET', 'OPTIONS', 'CONNECT', 'HEAD'].includes(method))
    t.ok(others.includes('PROPFIND') && others.includes('TRACE'))
    const cases = others.flatMap((method) => (['json', 'xml'] as const).map((format) => ({ method, format })))
    const problems = await problemsByCase(cases, async ({ method, format }) => {
      const response = await get('chargingAvailability=a', { method, ext: format })
      return [`${method} ${format}`, errorResponseProblems(response, { ...notAllowed, format })]
    })
    t.strictSame(problems, {})
  })

  await t.test('other methods of the service routes are a 405', async (t) => {
    const problems = await problemsByCase(
      ['/healthz', '/openapi.yaml', '/events?chargingAvailability=a'],
      async (path) => [
        path,
        errorResponseProblems(await request(path, { method: 'POST' }), {
          ...notAllowed,
          allow: 'GET, HEAD, OPTIONS',
        }),
      ],
    )
    t.strictSame(problems, {})
  })

  await t.test('HEAD of the proxied route is a 405 without a body', async (t) => {
    const response = await get('chargingAvailability=a', { method: 'HEAD' })
    t.equal(response.status, 405)
    t.equal(response.body.length, 0)
    t.strictSame(list(response.headers.allow).toSorted(), ['get', 'options'])
    t.strictSame(commonHeaderProblems(response.headers), [])
  })

  await t.test('a body of any type and size does not change a 405', async (t) => {
    const bodies: [headers: Record<string, string>, body: string | Buffer][] = [
      [{}, ''],
      [{ 'content-type': 'application/json' }, '{"a":1}'],
      [{ 'content-type': 'application/json' }, '{"a":'],
      [{ 'content-type': 'application/json' }, '{"__proto__":{}}'],
      [{ 'content-type': 'application/json' }, ''],
      [{ 'content-type': 'application/x-www-form-urlencoded' }, 'chargingAvailability=a'],
      [{ 'content-type': 'multipart/form-data; boundary=b' }, '--b\r\n\r\nx\r\n--b--'],
      [{ 'content-type': 'text/plain' }, 'text'],
      [{ 'content-type': 'application/xml' }, '<a/>'],
      [{ 'content-type': 'not a type' }, 'x'],
      [{}, 'no type'],
      [{ 'content-type': 'application/json', 'content-encoding': 'gzip' }, gzipSync('{}')],
      [{ 'transfer-encoding': 'chunked', 'content-type': 'text/plain' }, 'chunk'],
      [{ 'content-type': 'application/json' }, `"${'x'.repeat(20_000)}"`],
      [{ 'content-type': 'application/octet-stream' }, Buffer.alloc(20_000)],
    ]
    const cases = bodies.flatMap(([headers, body], i) =>
      ['POST', 'PUT', 'PATCH', 'DELETE'].map((method) => ({ i, method, headers, body })),
    )
    const problems = await problemsByCase(cases, async ({ i, ...options }) => {
      const response = await get('chargingAvailability=a', options)
      return [`${options.method} body ${i}`, errorResponseProblems(response, notAllowed)]
    })
    t.strictSame(problems, {})
  })

  await t.test('an unknown path is a 404 for every method', async (t) => {
    const response = await request('/search/2/nothing.xml', { method: 'POST', body: 'x' })
    t.strictSame(errorResponseProblems(response, { status: 404, code: 'NotFound', format: 'xml' }), [])
  })

  await t.test('a POST with an unknown format is a 405 and not a 400', async (t) => {
    const response = await get('chargingAvailability=a', { method: 'POST', ext: 'yaml' })
    t.strictSame(errorResponseProblems(response, notAllowed), [])
  })

  t.equal(upstream.calls.length, 0, 'no upstream call is made')
})
