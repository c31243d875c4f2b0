import t from 'tap'
import { DOCS_FILES } from '../../src/http/docs-files.ts'
import { PAGE_FILES } from '../../src/ops/status/page-files.ts'
import type { WireResponse } from '../support/request.ts'
import { request } from '../support/request.ts'
import { startService } from '../support/service.ts'

const PUBLIC = ['/healthz', '/openapi.yaml', ...DOCS_FILES.map(({ path }) => path)]
const ADMIN = [
  '/livez',
  '/readyz',
  '/metrics',
  '/status',
  '/status/station?id=a',
  ...PAGE_FILES.map(({ path }) => path),
]
/** Headers that differ between any two requests, and those that depend on the generated body (RFC 9110, 9.3.2). */
const VARYING = new Set([
  'date',
  'tracking-id',
  'content-length',
  'transfer-encoding',
  'content-encoding',
  'vary',
])

const fixed = ({ status, headers }: WireResponse) => ({
  status,
  headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !VARYING.has(name))),
})

for (const encoding of ['identity', 'gzip']) {
  await t.test(`HEAD is GET without the body (${encoding})`, async (t) => {
    const { proxy } = await startService(t)
    const headers = { 'accept-encoding': encoding }
    const routes = [
      ...PUBLIC.map((path) => ({ base: proxy.url, path })),
      ...ADMIN.map((path) => ({ base: proxy.adminUrl, path })),
    ]
    const heads: unknown[] = []
    const gets: unknown[] = []
    for (const { base, path } of routes) {
      const head = await request(base, path, { method: 'HEAD', headers })
      const get = await request(base, path, { headers })
      heads.push({ path, ...fixed(head), bytes: head.body.length })
      gets.push({ path, ...fixed(get), bytes: 0 })
    }
    t.strictSame(heads, gets)
  })
}
