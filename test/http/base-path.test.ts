import t from 'tap'
import { parse } from 'yaml'
import { DOCS_FILES } from '../../src/http/docs-files.ts'
import { withoutBasePath } from '../../src/http/request-target.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import { request } from '../support/request.ts'
import { startService } from '../support/service.ts'

const PROXIED = '/search/2/chargingAvailability.json?chargingAvailability=a'
const ROUTES = [PROXIED, '/healthz', '/openapi.yaml', ...DOCS_FILES.map(({ path }) => path)]

await t.test('the base path precedes every route of the public listener', async (t) => {
  const { proxy } = await startService(t, { env: { BASE_PATH: '/ev', ACCESS_LOG: 'true' } })
  const get = (path: string, options = {}) => request(proxy.url, path, options)
  const statuses = async (paths: string[]) => {
    const found: [string, number][] = []
    for (const path of paths) found.push([path, (await get(path)).status])
    return found
  }

  await t.test('every route answers under the base path', async (t) => {
    const paths = ROUTES.map((path) => `/ev${path}`)
    t.strictSame(
      await statuses(paths),
      paths.map((path) => [path, 200]),
    )
  })

  await t.test('outside of the base path only /healthz answers, the rest is 404', async (t) => {
    const outside = [
      '/',
      '/ev',
      '/ev/',
      '/evx/healthz',
      '/EV/healthz',
      '/%65v/healthz',
      '/.outside/healthz',
      '/healthz/x',
    ]
    const paths = [...ROUTES, ...outside]
    t.strictSame(
      await statuses(paths),
      paths.map((path) => [path, path === '/healthz' ? 200 : 404]),
    )
  })

  await t.test('a 404 outside of the base path has the format of its path', async (t) => {
    const notFound = { status: 404, code: 'NotFound' }
    const [json, xml] = [await get(PROXIED), await get(PROXIED.replace('.json', '.xml'))]
    t.strictSame(errorResponseProblems(json, { ...notFound, format: 'json' }), [])
    t.strictSame(errorResponseProblems(xml, { ...notFound, format: 'xml' }), [])
  })

  await t.test('other methods under the base path are a 405, and preflights are answered', async (t) => {
    t.equal((await get(`/ev${PROXIED}`, { method: 'POST' })).status, 405)
    const headers = { origin: 'https://a.example', 'access-control-request-method': 'GET' }
    t.equal((await get(`/ev${PROXIED}`, { method: 'OPTIONS', headers })).status, 204)
  })

  await t.test('the document has the base path as its server', async (t) => {
    const { servers } = parse((await get('/ev/openapi.yaml')).text) as { servers: { url: string }[] }
    t.strictSame(
      servers.map(({ url }) => url),
      ['/ev'],
    )
  })

  t.ok(
    proxy.logs.some(({ path }) => path === '/ev/search/2/chargingAvailability.json'),
    'the access log has the path that the client sent',
  )
})

await t.test('without a base path the document has a server relative to its own URL', async (t) => {
  const { request } = await startService(t)
  const { servers } = parse((await request('/openapi.yaml')).text) as { servers: { url: string }[] }
  t.equal(new URL(servers[0]?.url ?? '', 'https://host.example/prefix/openapi.yaml').pathname, '/prefix/')
})

await t.test('a base path is removed only as whole segments at the start', async (t) => {
  const routed = withoutBasePath('/a/b')
  t.strictSame(
    ['/a/b/c?x', '/a/b//c', '/a/b', '/a/bc', '/a/c', '/x/a/b/c', '/healthz', '/healthz?x', '/healthzz'].map(
      routed,
    ),
    [
      '/c?x',
      '//c',
      '/.outside/a/b',
      '/.outside/a/bc',
      '/.outside/a/c',
      '/.outside/x/a/b/c',
      '/healthz',
      '/healthz?x',
      '/.outside/healthzz',
    ],
  )
  t.equal(withoutBasePath('')('/a'), '/a')
})
