import t from 'tap'
import { DOCS_FILES } from '../../src/http/docs-files.ts'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import { request } from '../support/request.ts'
import { startService } from '../support/service.ts'
import { problemsByCase } from './cases.ts'

const PATHS = DOCS_FILES.map(({ path }) => path)
const MAX_BYTES = 2_000_000
const NOT_FOUND = { status: 404, code: 'NotFound' }
const NOT_ALLOWED = { status: 405, code: 'MethodNotAllowed', allow: 'GET, HEAD, OPTIONS' }

await t.test('routes of the service', async (t) => {
  const { request, upstream } = await startService(t)

  await t.test('/healthz is 200 while the process is running', async (t) => {
    const response = await request('/healthz')
    t.equal(response.status, 200)
    t.strictSame(commonHeaderProblems(response.headers), [])
  })

  await t.test('/openapi.yaml is the document as YAML', async (t) => {
    const response = await request('/openapi.yaml')
    t.equal(response.status, 200)
    t.match(response.headers['content-type'], /yaml/)
    t.match(response.text, /^openapi: /m)
    t.strictSame(commonHeaderProblems(response.headers), [])
  })

  t.equal(upstream.calls.length, 0, 'no upstream call is made')
})

await t.test('files of the API reference', async (t) => {
  const { proxy, upstream } = await startService(t)
  const get = (path: string, headers = {}) => request(proxy.url, path, { headers })

  await t.test('every file has a policy that allows nothing inline and no other origin', async (t) => {
    let bytes = 0
    const problems = await problemsByCase(PATHS, async (path) => {
      const { status, headers, text } = await get(path)
      bytes += text.length
      const policy = String(headers['content-security-policy'])
      const found = commonHeaderProblems(headers)
      if (status !== 200) found.push(`status ${status}`)
      if (!policy.startsWith("default-src 'none'; script-src 'self'; style-src 'self';")) found.push(policy)
      if (/unsafe|http|\*/.test(policy)) found.push(policy)
      if (headers['cache-control'] !== 'no-cache') found.push('Cache-Control')
      if (headers['referrer-policy'] !== 'no-referrer') found.push('Referrer-Policy')
      return [path, found]
    })
    t.strictSame(problems, {})
    t.ok(bytes < MAX_BYTES, `${bytes} bytes, uncompressed`)
  })

  await t.test('every file is compressed on request, under another tag', async (t) => {
    const received = await Promise.all(
      PATHS.map(async (path) => {
        const plain = await get(path)
        const gzipped = await get(path, { 'accept-encoding': 'gzip, br' })
        return {
          path,
          codings: [plain.headers['content-encoding'], gzipped.headers['content-encoding']],
          sameText: gzipped.text === plain.text,
          sameTag: gzipped.headers.etag === plain.headers.etag,
        }
      }),
    )
    t.strictSame(
      received,
      PATHS.map((path) => ({ path, codings: [undefined, 'gzip'], sameText: true, sameTag: false })),
    )
  })

  await t.test('every file is a 304 for its tag, in both codings', async (t) => {
    const cases = PATHS.flatMap((path) => ['gzip;q=0', 'gzip'].map((coding) => ({ path, coding })))
    const received = await Promise.all(
      cases.map(async ({ path, coding }) => {
        const { etag } = (await get(path, { 'accept-encoding': coding })).headers
        const headers = { 'accept-encoding': coding, 'if-none-match': String(etag) }
        const response = await get(path, headers)
        const { vary, 'cache-control': cacheControl, etag: sameEtag } = response.headers
        return [response.status, response.body.length, sameEtag === etag, vary, cacheControl]
      }),
    )
    t.strictSame(
      received,
      cases.map(() => [304, 0, true, 'Accept-Encoding', 'no-cache']),
    )
  })

  await t.test('a method other than GET, HEAD and OPTIONS is a 405', async (t) => {
    const cases = ['/docs', '/docs?x=1', '/docs/docs.js'].flatMap((path) =>
      ['POST', 'DELETE'].map((method) => ({ path, method })),
    )
    const received = await Promise.all(
      cases.map(async ({ path, method }) => {
        const { status, headers } = await request(proxy.url, path, { method })
        return [status, headers['allow']]
      }),
    )
    t.strictSame(
      received,
      cases.map(() => [405, 'GET, HEAD, OPTIONS']),
    )
    const post = await request(proxy.url, '/docs', { method: 'POST' })
    t.strictSame(errorResponseProblems(post, NOT_ALLOWED), [])
  })

  await t.test('no other path below /docs is served', async (t) => {
    const paths = [
      '/docs/',
      '/docs/../openapi.yaml',
      '/docs/index.html',
      '/docs/%2e%2e/package.json',
      '/docs.js',
    ]
    const problems = await problemsByCase(paths, async (path) => [
      path,
      errorResponseProblems(await get(path), NOT_FOUND),
    ])
    t.strictSame(problems, {})
    t.equal(upstream.calls.length, 0)
  })

  await t.test('with DOCS=false every file is a 404 for every method', async (t) => {
    const { proxy } = await startService(t, { env: { DOCS: 'false' } })
    const cases = PATHS.flatMap((path) => ['GET', 'POST'].map((method) => ({ path, method })))
    const problems = await problemsByCase(cases, async ({ path, method }) => {
      const response = await request(proxy.url, path, { method })
      return [`${method} ${path}`, errorResponseProblems(response, NOT_FOUND)]
    })
    t.strictSame(problems, {})
  })
})
