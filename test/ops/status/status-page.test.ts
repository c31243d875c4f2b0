import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import t from 'tap'
import { ARTEFACTS, NO_BROWSER, startBrowser } from '../../support/browser.ts'
import { answerStation, answerStatus } from '../../support/scripted-upstream.ts'
import { perCall } from '../../support/scripts.ts'
import type { Service } from '../../support/service.ts'
import { startService } from '../../support/service.ts'
import { connector, level, station } from '../../support/stations.ts'

const DESKTOP = { width: 1280, height: 900 }
const PHONE = { width: 390, height: 844 }

const HOSTILE = `<img src=x onerror="document.title='taken'">`

const script = perCall(({ id }) => {
  if (id.startsWith('broken')) return answerStatus(500)
  if (id !== 'large') return answerStation
  const connectors = [
    connector('IEC62196Type2CableAttached', level(22, 3, 2), level(43, 0, 1)),
    connector('Chademo', level(50, 1, 0)),
    connector(HOSTILE, level(11, 1, 1)),
  ]
  return (_call, response) => void response.end(JSON.stringify(station(id, ...connectors)))
})

const skip = NO_BROWSER
let browser: Browser | null = null
t.before(async () => {
  if (skip === false) browser = await startBrowser()
})
t.teardown(() => browser?.close())

/** The page as it opens, with all that it says on the console and asks of anybody. */
async function open(t: Test, { proxy }: Service, options: BrowserContextOptions = {}) {
  const context = await (browser as Browser).newContext({ viewport: DESKTOP, ...options })
  t.teardown(() => context.close())
  const page = await context.newPage()
  const complaints: string[] = []
  const requests: string[] = []
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => requests.push(request.url()))
  const response = await page.goto(`${proxy.adminUrl}/`)
  await page.locator('#live[data-state=live]').waitFor()
  return { page, complaints, requests, response }
}

/** Some of everything: hits, misses, failures, clients that are wrong. */
async function useIt({ get }: Service): Promise<void> {
  for (let i = 0; i < 60; i++) await get(`chargingAvailability=s${i % 6}&minPowerKW=${i % 3}`)
  await get('chargingAvailability=large')
  await get('chargingAvailability=broken-1', { headers: { 'tracking-id': 'find-me-1' } })
  await get(`chargingAvailability=${encodeURIComponent(`broken-${HOSTILE}`)}`)
  await get('chargingAvailability=s1&minPowerKW=fast', { headers: { 'tracking-id': 'wrong-1' } })
}

const text = (page: Page, selector: string) => page.locator(selector).innerText()

/** Waits until the text of an element matches; the page polls, so it takes a moment. */
async function shows(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: pattern }).first().waitFor({ timeout: 20_000 })
}

async function lookUp(page: Page, id: string, mayAsk = false): Promise<void> {
  await page.fill('#station-id', id)
  await page.locator('#station-ask').setChecked(mayAsk)
  await page.click('#station-form button')
}

await t.test('the page in a browser', { skip }, async (t) => {
  const service = await startService(t, {
    script,
    env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '20' },
  })
  const { page, complaints, requests, response } = await open(t, service)

  await t.test('opens under a strict policy, and says that all is well', async (t) => {
    t.match(await response?.headerValue('content-security-policy'), /^default-src 'none';/)
    await shows(page, '#headline', /in order/)
    t.equal(await text(page, '#states'), 'ready\ncircuit closed')
    await shows(page, '#failures', /No request has failed/)
  })

  await t.test('shows the traffic once there is some', async () => {
    await useIt(service)
    await shows(page, '.tile:has-text("Requests") .value', /[1-9]/)
    await shows(page, '.tile:has-text("Answered from memory") .value', /\d\d %/)
    await shows(page, '.tile:has-text("Stations held") .value', /^7/)
    await shows(page, '#requests-legend li:has-text("hit")', /hit\s*[\d.]*[1-9]/)
    await shows(page, '#quota-left', /2,4\d\d of 2,500 left/)
    await shows(page, '#results', /hit\s*5\d/)
  })

  await t.test('shows what failed, and where, with what strangers wrote as text', async (t) => {
    await shows(page, '#failures', /UpstreamFailed\s*upstream answered 500/)
    const [hostile = '', plain = ''] = await page.locator('#failures tbody tr').allInnerTexts()
    t.match(plain, /broken-1[\s\S]*502[\s\S]*find-me-1/)
    t.ok(hostile.includes(HOSTILE))
    await shows(page, '#refused', /minPowerKW' must be[\s\S]*wrong-1/)
    await shows(page, '.verdict', /requests of the last minute failed/)
  })

  await t.test('finds a request by its Tracking-ID', async () => {
    await page.fill('#find-id', 'wrong-1')
    await page.click('#find-form button')
    await shows(page, '#found', /InvalidParameter[\s\S]*400/)
    await page.fill('#find-id', 'nobody')
    await page.click('#find-form button')
    await shows(page, '#found', /Nothing is remembered under nobody/)
  })

  await t.test('looks a station up: bars by power, and how old they are', async (t) => {
    const calls = service.upstream.calls.length
    await lookUp(page, 'large')
    await shows(page, '#station', /\d+ s old, fresh for another/)
    t.equal(await page.locator('#station .connector').count(), 3)
    const labels = await page.locator('#station .bar').evaluateAll((bars) => bars.map((bar) => bar.ariaLabel))
    t.strictSame(labels, ['3 available, 2 occupied', '1 occupied', '1 available', '1 available, 1 occupied'])
    t.ok((await text(page, '#station')).includes(HOSTILE))
    const widths = await page
      .locator('#station .bar')
      .evaluateAll((bars) => bars.map((bar) => bar.clientWidth))
    t.ok((widths[0] ?? 0) > 4 * (widths[1] ?? 0), 'as long as there are points')
    await lookUp(page, 'not-held')
    await shows(page, '#station', /Nothing is held/)
    t.equal(service.upstream.calls.length, calls, 'all of that for nothing')
  })

  await t.test('asks upstream only if it is told to', async (t) => {
    const calls = service.upstream.calls.length
    await lookUp(page, 'not-held', true)
    await shows(page, '#station', /0 s old/)
    t.equal(service.upstream.calls.length, calls + 1)
    await lookUp(page, 'broken-2', true)
    await shows(page, '#station', /UpstreamFailed \(502\): upstream answered 500/)
  })

  await t.test('looks up the station of a failure with a click', async (t) => {
    await page.locator('#failures button').last().click()
    await shows(page, '#station', /Nothing is held/)
    t.equal(await page.inputValue('#station-id'), 'broken-1')
  })

  await t.test('switches to the last hour', async () => {
    await page.getByText('1 hour').click()
    await shows(page, '#requests-legend', /in the last minute/)
    await page.getByText('10 minutes').click()
  })

  await t.test('complains of nothing, asks nobody else, and runs nothing of a stranger', async (t) => {
    t.strictSame(complaints, [])
    t.strictSame(
      requests.filter((url) => !url.startsWith(service.proxy.adminUrl)),
      [],
    )
    t.equal(await page.title(), 'EV availability proxy')
  })

  await t.test('asks for little at a time', async (t) => {
    const poll = await page.waitForResponse((answer) => /\/status\?since=\d/.test(answer.url()))
    t.ok((await poll.body()).length < 8_000)
  })

  await t.test('says so when the service is gone, and goes on when it is back', async (t) => {
    await page.route('**/status?*', (route) => route.abort())
    await shows(page, '#live', /no answer since/)
    await page.unroute('**/status?*')
    await page.locator('#live[data-state=live]').waitFor()
    t.ok((await text(page, '#live')).startsWith('live'))
  })

  for (const [name, options] of [
    ['light', { viewport: DESKTOP, colorScheme: 'light' }],
    ['dark', { viewport: DESKTOP, colorScheme: 'dark' }],
    ['phone', { viewport: PHONE, colorScheme: 'light', deviceScaleFactor: 2 }],
  ] as const) {
    await t.test(`fits and is legible: ${name}`, async (t) => {
      const { page } = await open(t, service, options)
      await shows(page, '#failures', /broken-1/)
      await lookUp(page, 'large')
      await shows(page, '#station', /s old/)
      const width = await page.locator('html').evaluate((html) => html.scrollWidth)
      t.ok(width <= options.viewport.width, 'nothing overflows')
      t.equal(await page.locator('.plot canvas').count(), 3)
      await page.screenshot({ path: `${ARTEFACTS}status-${name}.png`, fullPage: true })
    })
  }
})

await t.test('trouble is seen at once', { skip }, async (t) => {
  await t.test('upstream refuses our calls', async (t) => {
    const service = await startService(t, { script: answerStatus(403) })
    await service.get('chargingAvailability=a')
    const { page } = await open(t, service)
    await shows(page, '#headline', /Upstream refuses our calls with 403 since .*check TOMTOM_API_KEY/)
    t.equal(await page.locator('#verdict').getAttribute('data-level'), 'bad')
    await shows(page, '#states', /refused by upstream/)
    await page.screenshot({ path: `${ARTEFACTS}status-refused.png` })
  })

  await t.test('the circuit is open', async (t) => {
    const service = await startService(t, { script: answerStatus(500) })
    for (let i = 0; i < 10; i++) await service.get(`chargingAvailability=a${i}`)
    const { page } = await open(t, service)
    await shows(page, '#headline', /the circuit is open|last minute failed/)
    t.equal(await page.locator('#verdict').getAttribute('data-level'), 'bad')
  })

  await t.test('the quota is spent', async (t) => {
    const service = await startService(t, { env: { UPSTREAM_QUOTA: '3/day' } })
    for (let i = 0; i < 5; i++) await service.get(`chargingAvailability=a${i}`)
    const { page } = await open(t, service)
    await shows(page, '.verdict', /The quota is spent until/)
    await shows(page, '#quota-left', /0 of 3 left/)
  })

  await t.test('the shared tier is away', async (t) => {
    const service = await startService(t, { env: { REDIS_URL: 'redis://127.0.0.1:1' } })
    await service.get('chargingAvailability=a')
    const { page } = await open(t, service)
    await shows(page, '.verdict', /The shared tier \(Redis\) cannot be reached/)
    await shows(page, '#states', /shared tier away/)
  })

  await t.test('the service drains', async (t) => {
    const service = await startService(t, { env: { DRAIN_DELAY: '5s' } })
    const { page } = await open(t, service)
    void service.proxy.stop()
    await shows(page, '#headline', /Draining/)
    await shows(page, '#states', /draining/)
  })
})
