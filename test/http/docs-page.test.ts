import type { AddressInfo } from 'node:net'
import { createServer } from 'node:http'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import t from 'tap'
import { LOW_CONTRASTS } from '../support/contrast.ts'
import { ARTEFACTS, NO_BROWSER, startBrowser } from '../support/browser.ts'
import type { Service } from '../support/service.ts'
import { request } from '../support/request.ts'
import { startService } from '../support/service.ts'

const MAX_BYTES = 2_100_000

const skip = NO_BROWSER
let browser: Browser | null = null
t.before(async () => {
  if (skip === false) browser = await startBrowser()
})
t.teardown(() => browser?.close())

/** The opened page, with its console messages and the responses that it received. */
async function open(
  t: Test,
  { proxy }: { readonly proxy: Pick<Service['proxy'], 'url'> },
  options: BrowserContextOptions = {},
) {
  const context = await (browser as Browser).newContext(options)
  t.teardown(() => context.close())
  const page = await context.newPage()
  const messages: string[] = []
  const bodies: Promise<{ url: string; bytes: number }>[] = []
  page.on('console', (message) => messages.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => messages.push(error.message))
  page.on('response', (response) => {
    bodies.push(response.body().then(({ length: bytes }) => ({ url: response.url(), bytes })))
  })
  // A link must not be able to load another document.
  const evil = 'http://evil.example/openapi.yaml'
  await page.goto(`${proxy.url}/docs?url=${evil}&configUrl=${evil}`)
  await page.locator('.opblock').first().waitFor()
  return { page, messages, bodies }
}

const operation = (page: Page, id: string) => page.locator(`.opblock[id$="-${id}"]`)

/** Opens an operation, fills in parameters and sends the request; the text of the response. */
async function tryIt(page: Page, id: string, values: Record<string, string> = {}) {
  const block = operation(page, id)
  await block.locator('.opblock-summary-control').click()
  for (const [name, value] of Object.entries(values)) {
    const field = block.locator(`tr[data-param-name="${name}"]`).locator('input, select').last()
    const isList = (await field.evaluate((element) => element.tagName)) === 'SELECT'
    await (isList ? field.selectOption(value) : field.fill(value))
  }
  await block.locator('button.execute').click()
  const response = block.locator('.live-responses-table')
  await response.waitFor()
  return response.innerText()
}

await t.test('the API reference in a browser', { skip }, async (t) => {
  const service = await startService(t)
  const { proxy, upstream } = service

  const { page, messages, bodies } = await open(t, service)

  await t.test('the page shows the document with all operations', async (t) => {
    t.match(await page.locator('.info .title').innerText(), /EV availability proxy/)
    const shown = await page.locator('.opblock-summary').allInnerTexts()
    t.match(shown.join('\n'), /GET[^]*\/search\/2[^]*chargingAvailability\.\{ext\}/)
    t.equal(shown.length, 8)
  })

  await t.test('a request that is tried out goes to this service, and its response is shown', async (t) => {
    const json = await tryIt(page, 'getChargingAvailability', { chargingAvailability: 'from-the-page' })
    t.match(json, /200[^]*"chargingAvailability": "from-the-page"/)
    t.match(json, /cache-status: ev-availability-proxy/)
    t.strictSame(
      upstream.calls.map(({ id }) => id),
      ['from-the-page'],
    )
  })

  await t.test('the page logs nothing, requests no other origin and is small', async (t) => {
    t.strictSame(messages, [])
    const received = await Promise.all(bodies)
    const others = received.filter(({ url }) => !url.startsWith(proxy.url))
    t.strictSame(others, [])
    const bytes = received.reduce((sum, body) => sum + body.bytes, 0)
    t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
  })

  for (const [name, options] of [
    ['dark', { viewport: { width: 1280, height: 2400 }, colorScheme: 'dark' }],
    ['phone', { viewport: { width: 390, height: 3000 }, colorScheme: 'light' }],
  ] as const) {
    await t.test(`the page fits its window and follows the colour scheme: ${name}`, async (t) => {
      const { page } = await open(t, service, options)
      const xml = await tryIt(page, 'getChargingAvailability', { ext: 'xml', minPowerKW: '30' })
      t.match(xml, /200[^]*<powerKW>50\.0<\/powerKW>/)
      t.notMatch(xml, '22.2')
      const { width, isDark } = await page.locator('html').evaluate((html) => ({
        width: html.scrollWidth,
        isDark: html.classList.contains('dark-mode'),
      }))
      t.ok(width <= options.viewport.width, `no overflow: ${width}`)
      t.equal(isDark, options.colorScheme === 'dark')
      t.strictSame(await page.evaluate(LOW_CONTRASTS), [], 'every text can be read')
      await page.screenshot({ path: `${ARTEFACTS}docs-${name}.png` })
    })
  }
})

/** An ingress that removes `/outer` from the path of every request. */
async function startIngress(t: Test, target: string): Promise<string> {
  const server = createServer((incoming, response) => {
    const path = incoming.url ?? '/'
    const forwarded = path.startsWith('/outer/') ? request(target, path.slice('/outer'.length)) : null
    if (forwarded === null) response.writeHead(404).end('not the proxy')
    else void forwarded.then(({ status, headers, body }) => response.writeHead(status, headers).end(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

await t.test(
  'behind an ingress the request that is tried out goes to the same prefix',
  { skip },
  async (t) => {
    for (const [name, env, prefix] of [
      ['stripped', {}, '/outer'],
      ['kept', { BASE_PATH: '/ev' }, '/ev'],
    ] as const) {
      await t.test(`the prefix is ${name}`, async (t) => {
        const { proxy, upstream } = await startService(t, { env })
        const origin = prefix === '/ev' ? proxy.url : await startIngress(t, proxy.url)
        const { page, messages } = await open(t, { proxy: { url: `${origin}${prefix}` } })
        t.match(await tryIt(page, 'getChargingAvailability', { chargingAvailability: name }), /200/)
        t.strictSame(
          upstream.calls.map(({ id }) => id),
          [name],
        )
        t.strictSame(messages, [])
      })
    }
  },
)
