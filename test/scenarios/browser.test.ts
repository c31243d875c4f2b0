import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import t from 'tap'
import { NO_BROWSER, startBrowser } from '../support/browser.ts'
import { startProxy } from '../support/proxy.ts'
import { answerStatus, ScriptedUpstream } from '../support/scripted-upstream.ts'

/** An empty page on another origin than the proxy. */
async function otherOriginPage(
  browser: Browser,
  close: (end: () => Promise<unknown>) => void,
): Promise<Page> {
  const server = createServer((_request, response) => response.end('<!doctype html><title>a page</title>'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  close(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const page = await browser.newPage()
  await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`)
  return page
}

await t.test('a page on another origin', { skip: NO_BROWSER }, async (t) => {
  const upstream = await ScriptedUpstream.start()
  const proxy = await startProxy(upstream.origin)
  const browser = await startBrowser()
  const ends: (() => Promise<unknown>)[] = []
  const page = await otherOriginPage(browser, (end) => ends.push(end))
  t.teardown(async () => {
    await browser.close()
    await proxy.stop()
    await upstream.stop()
    await Promise.all(ends.map((end) => end()))
  })
  const base = `${proxy.url}/search/2/chargingAvailability`

  await t.test(
    'a page sends the request of the web SDK and reads the response and its headers',
    async (t) => {
      const seen = await page.evaluate(async (url) => {
        // @ts-ignore: runs in the browser
        const answer = await fetch(
          `${url}.json?key=x&chargingAvailability=a&connectorSet=IEC62196Type2Outlet&connectorSet=Tesla`,
          {
            headers: { 'Tracking-ID': 'page-1', 'TomTom-User-Agent': 'MapsWebJSSDK/6' },
          },
        )
        const names = ['tracking-id', 'etag', 'age', 'cache-status']
        return {
          status: answer.status,
          body: await answer.json(),
          headers: names.map((name) => answer.headers.get(name)),
        }
      }, base)
      t.equal(seen.status, 200)
      t.equal((seen.body as { chargingAvailability: string }).chargingAvailability, 'a')
      t.equal(seen.headers[0], 'page-1')
      t.ok(
        seen.headers.every((value) => value !== null),
        'every exposed header can be read',
      )
      t.equal(upstream.calls.length, 1, 'the preflight causes no call')
    },
  )

  await t.test('a page reads errors as JSON, also those caused by upstream', async (t) => {
    upstream.script = answerStatus(503, '<h1>no healthy upstream</h1>')
    const seen = await page.evaluate(async (url) => {
      const queries = ['', '?chargingAvailability=b', '?chargingAvailability=b&minPowerKW=x']
      return Promise.all(queries.map(async (query) => (await fetch(url + query)).json()))
    }, `${base}.json`)
    const codes = seen.map((body) => (body as { detailedError: { code: string } }).detailedError.code)
    t.strictSame(codes, ['MissingParameter', 'UpstreamFailed', 'InvalidParameter'])
  })
})
