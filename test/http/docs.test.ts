import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import t from 'tap'
import { DOCS_FILES } from '../../src/http/docs-files.ts'
import { request } from '../support/request.ts'
import { ARTEFACTS, NO_BROWSER, startBrowser } from '../support/browser.ts'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import type { Service } from '../support/service.ts'
import { startService } from '../support/service.ts'

const PATHS = DOCS_FILES.map(({ path }) => path)
const MOST_BYTES = 2_000_000

await t.test('the files of the API reference', async (t) => {
  const { proxy, upstream } = await startService(t)
  const get = (path: string, headers = {}) => request(proxy.url, path, { headers })

  await t.test('come with all that a page needs to be strict', async (t) => {
    let bytes = 0
    for (const path of PATHS) {
      const { status, headers, text } = await get(path)
      bytes += text.length
      t.equal(status, 200, path)
      t.same(commonHeaderProblems(headers), [], path)
      t.match(headers['content-security-policy'], /^default-src 'none'; script-src 'self'; style-src 'self';/)
      t.notMatch(headers['content-security-policy'], /unsafe|http|\*/)
      t.match(headers, { 'cache-control': 'no-cache', 'referrer-policy': 'no-referrer' })
    }
    t.ok(bytes < MOST_BYTES, `${bytes} bytes, nothing compressed`)
  })

  await t.test('are compressed for those who ask, and not sent twice', async (t) => {
    for (const path of PATHS) {
      const plain = await get(path)
      const gzipped = await get(path, { 'accept-encoding': 'gzip, br' })
      t.equal(plain.headers['content-encoding'], undefined)
      t.equal(gzipped.headers['content-encoding'], 'gzip', path)
      t.equal(gzipped.text, plain.text, 'the same')
      t.not(gzipped.headers.etag, plain.headers.etag, 'under another tag')
      for (const [{ headers }, coding] of [
        [plain, 'gzip;q=0'],
        [gzipped, 'gzip'],
      ] as const) {
        const again = await get(path, { 'accept-encoding': coding, 'if-none-match': String(headers.etag) })
        t.equal(again.status, 304)
        t.match(again.headers, { etag: headers.etag, vary: 'Accept-Encoding', 'cache-control': 'no-cache' })
        t.equal(again.body.length, 0)
      }
    }
  })

  await t.test('are there to be got, and nothing else', async (t) => {
    for (const path of ['/docs', '/docs?x=1', '/docs/docs.js']) {
      for (const method of ['HEAD', 'POST', 'DELETE']) {
        const answer = await request(proxy.url, path, { method })
        t.equal(answer.status, 405, `${method} ${path}`)
        t.equal(answer.headers['allow'], 'GET, OPTIONS')
      }
    }
    for (const path of [
      '/docs/',
      '/docs/../openapi.yaml',
      '/docs/index.html',
      '/docs/%2e%2e/package.json',
      '/docs.js',
    ]) {
      t.same(errorResponseProblems(await get(path), { status: 404, code: 'NotFound' }), [], path)
    }
    t.equal(upstream.calls.length, 0)
  })

  await t.test('are not there with DOCS=false', async (t) => {
    const { proxy } = await startService(t, { env: { DOCS: 'false' } })
    for (const path of PATHS) {
      for (const method of ['GET', 'POST']) {
        const answer = await request(proxy.url, path, { method })
        t.same(errorResponseProblems(answer, { status: 404, code: 'NotFound' }), [], `${method} ${path}`)
      }
    }
  })
})

const skip = NO_BROWSER
let browser: Browser | null = null
t.before(async () => {
  if (skip === false) browser = await startBrowser()
})
t.teardown(() => browser?.close())

/** The page as it opens, with all that it says on the console, asks of anybody and gets. */
async function open(t: Test, { proxy }: Service, options: BrowserContextOptions = {}) {
  const context = await (browser as Browser).newContext(options)
  t.teardown(() => context.close())
  const page = await context.newPage()
  const complaints: string[] = []
  const bodies: Promise<{ url: string; bytes: number }>[] = []
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('response', (answer) => {
    bodies.push(answer.body().then(({ length: bytes }) => ({ url: answer.url(), bytes })))
  })
  // What a link could ask the renderer for, if it were let.
  const evil = 'http://evil.example/openapi.yaml'
  await page.goto(`${proxy.url}/docs?url=${evil}&configUrl=${evil}`)
  await page.locator('.opblock').first().waitFor()
  return { page, complaints, bodies }
}

const operation = (page: Page, id: string) => page.locator(`.opblock[id$="-${id}"]`)

/** Opens an operation, fills a parameter in or two, and sends the request. */
async function tryIt(page: Page, id: string, values: Record<string, string> = {}) {
  const block = operation(page, id)
  await block.locator('.opblock-summary-control').click()
  for (const [name, value] of Object.entries(values)) {
    const field = block.locator(`tr[data-param-name="${name}"]`).locator('input, select').last()
    const isList = (await field.evaluate((element) => element.tagName)) === 'SELECT'
    await (isList ? field.selectOption(value) : field.fill(value))
  }
  await block.locator('button.execute').click()
  const answer = block.locator('.live-responses-table')
  await answer.waitFor()
  return answer.innerText()
}

await t.test('the API reference in a browser', { skip }, async (t) => {
  const service = await startService(t)
  const { proxy, upstream } = service

  const { page, complaints, bodies } = await open(t, service)

  await t.test('draws the document', async (t) => {
    t.match(await page.locator('.info .title').innerText(), /EV availability proxy/)
    const shown = await page.locator('.opblock-summary').allInnerTexts()
    t.match(shown.join('\n'), /GET[^]*\/search\/2[^]*chargingAvailability\.\{ext\}/)
    t.equal(shown.length, 5, 'and every operation')
  })

  await t.test('tries a request on this service and shows its answer', async (t) => {
    const json = await tryIt(page, 'getChargingAvailability', { chargingAvailability: 'from-the-page' })
    t.match(json, /200[^]*"chargingAvailability": "from-the-page"/)
    t.match(json, /cache-status: ev-availability-proxy/)
    t.strictSame(
      upstream.calls.map(({ id }) => id),
      ['from-the-page'],
      'a real one',
    )
  })

  await t.test('complains of nothing, asks nobody else, and is not large', async (t) => {
    t.strictSame(complaints, [])
    const got = await Promise.all(bodies)
    const others = got.filter(({ url }) => !url.startsWith(proxy.url))
    t.strictSame(others, [])
    const bytes = got.reduce((sum, body) => sum + body.bytes, 0)
    t.ok(bytes < MOST_BYTES, `${bytes} bytes`)
  })

  for (const [name, options] of [
    ['dark', { viewport: { width: 1280, height: 2400 }, colorScheme: 'dark' }],
    ['phone', { viewport: { width: 390, height: 3000 }, colorScheme: 'light' }],
  ] as const) {
    await t.test(`fits and follows the system: ${name}`, async (t) => {
      const { page } = await open(t, service, options)
      const xml = await tryIt(page, 'getChargingAvailability', { ext: 'xml', minPowerKW: '30' })
      t.match(xml, /200[^]*<powerKW>50\.0<\/powerKW>/)
      t.notMatch(xml, '22.2')
      const { width, isDark } = await page.locator('html').evaluate((html) => ({
        width: html.scrollWidth,
        isDark: html.classList.contains('dark-mode'),
      }))
      t.ok(width <= options.viewport.width, `nothing overflows: ${width}`)
      t.equal(isDark, options.colorScheme === 'dark')
      await page.screenshot({ path: `${ARTEFACTS}docs-${name}.png` })
    })
  }
})
