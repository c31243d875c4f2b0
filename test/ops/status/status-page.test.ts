import { rmSync, writeFileSync } from 'node:fs'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import t from 'tap'
import { ARTEFACTS, NO_BROWSER, startBrowser } from '../../support/browser.ts'
import { openStream } from '../../support/event-source.ts'
import { answerStation, answerStatus } from '../../support/scripted-upstream.ts'
import { perCall } from '../../support/scripts.ts'
import type { Service } from '../../support/service.ts'
import { TEST_KEY } from '../../support/proxy.ts'
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

/** Opens the page and records its console messages and its requests. */
async function open(t: Test, { proxy }: Service, options: BrowserContextOptions = {}) {
  const context = await (browser as Browser).newContext({ viewport: DESKTOP, ...options })
  t.teardown(() => context.close())
  const page = await context.newPage()
  const consoleMessages: string[] = []
  const requests: string[] = []
  page.on('console', (message) => consoleMessages.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => consoleMessages.push(error.message))
  page.on('request', (request) => requests.push(request.url()))
  const response = await page.goto(`${proxy.adminUrl}/`)
  await page.locator('#live[data-state=live]').waitFor()
  return { page, consoleMessages, requests, response }
}

/** Hits, misses, failures and client errors. */
async function sendTraffic({ get }: Service): Promise<void> {
  for (let i = 0; i < 60; i++) await get(`chargingAvailability=s${i % 6}&minPowerKW=${i % 3}`)
  await get('chargingAvailability=large')
  await get('chargingAvailability=broken-1', { headers: { 'tracking-id': 'find-me-1' } })
  await get(`chargingAvailability=${encodeURIComponent(`broken-${HOSTILE}`)}`)
  await get('chargingAvailability=s1&minPowerKW=fast', { headers: { 'tracking-id': 'invalid-1' } })
}

/** The contrast (WCAG 2, 1.4.3) of a count of zero with the card it is on; runs in the page. */
const CONTRAST_OF_ZEROS = `(() => {
  const zero = document.querySelector('.counts .none dd')
  const numbers = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  const luminance = (colour) => {
    const [red, green, blue] = numbers(colour).map(linear)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const opacity = Number(getComputedStyle(zero.parentElement).opacity)
  const card = luminance(getComputedStyle(zero.closest('.card')).backgroundColor)
  const shown = luminance(getComputedStyle(zero).color) * opacity + card * (1 - opacity)
  return (Math.max(card, shown) + 0.05) / (Math.min(card, shown) + 0.05)
})()`

const text = (page: Page, selector: string) => page.locator(selector).innerText()

/** Waits until the text of an element matches; the page polls once a second. */
async function shows(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: pattern }).first().waitFor({ timeout: 20_000 })
}

async function lookup(page: Page, id: string, mayCall = false): Promise<void> {
  await page.fill('#station-id', id)
  await page.locator('#station-ask').setChecked(mayCall)
  await page.click('#station-form button[type=submit]')
}

await t.test('the status page in a browser', { skip }, async (t) => {
  const service = await startService(t, {
    script,
    env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '20' },
  })
  const { page, consoleMessages, requests, response } = await open(t, service)

  await t.test('the page opens under a strict content security policy and reports no problems', async (t) => {
    t.match(await response?.headerValue('content-security-policy'), /^default-src 'none';/)
    await shows(page, '#headline', /No problems/)
    t.equal(await text(page, '#states'), 'ready\ncircuit breaker closed')
    await shows(page, '#failures', /No request has failed/)
  })

  await t.test('the page shows traffic in tiles, charts and totals', async () => {
    await sendTraffic(service)
    await shows(page, '.tile:has-text("Requests") .value', /[1-9]/)
    await shows(page, '.tile:has-text("Cache hit ratio") .value', /\d\d %/)
    await shows(page, '.tile:has-text("Cached stations") .value', /^7/)
    await shows(page, '.tile:has-text("Cached stations")', /KB of 256 MB/)
    await shows(page, '#requests-legend li:has-text("hit")', /hit\s*[\d.]*[1-9]/)
    await shows(page, '#quota-left', /2,4\d\d of 2,500 left/)
    await shows(page, '#results', /hit\s*5\d/)
  })

  await t.test('the page shows open streams, watched stations and the events sent', async (t) => {
    const stream = await openStream(t, service.proxy.url, 'chargingAvailability=s1&chargingAvailability=s2')
    await stream.received(2)
    await shows(page, '.tile:has-text("Live updates")', /1\s*stream\s*0 long polls, 2 stations watched/)
    await shows(page, '#events', /availability\s*2\s*problem\s*0/)
    stream.close()
    await shows(page, '.tile:has-text("Live updates")', /0\s*streams\s*0 long polls, 0 stations watched/)
  })

  await t.test('the page lists failures and client errors and shows untrusted input as text', async (t) => {
    await shows(page, '#failures', /UpstreamFailed\s*upstream answered 500/)
    const [hostile = '', plain = ''] = await page.locator('#failures tbody tr').allInnerTexts()
    t.match(plain, /broken-1[\s\S]*502[\s\S]*find-me-1/)
    t.ok(hostile.includes(HOSTILE))
    await shows(page, '#clientErrors', /minPowerKW' must be[\s\S]*invalid-1/)
    await shows(page, '.health', /requests in the last minute failed/)
  })

  await t.test('the page groups errors by code and lists who sends client errors', async (t) => {
    await shows(page, '#groups', /UpstreamFailed\s*502\s*2/)
    await shows(page, '#senders', /unknown\s*–\s*1/)
    await shows(page, '#changes', /started/)
    await page.getByText('Settings in force').click()
    await shows(page, '#settings', /CACHE_TTL\s*30s/)
    t.notMatch(await text(page, '#settings'), TEST_KEY)
    await shows(page, '#zone', /Times are in \S+/)
  })

  await t.test('the numbers of zero have the contrast of normal text', async (t) => {
    const ratio = await page.evaluate<number>(CONTRAST_OF_ZEROS)
    t.ok(ratio >= 4.5, `${ratio.toFixed(1)}:1`)
  })

  await t.test('the search finds a request by its Tracking-ID', async () => {
    await page.fill('#find-id', 'invalid-1')
    await page.click('#find-form button')
    await shows(page, '#found', /InvalidParameter[\s\S]*400/)
    await page.fill('#find-id', 'nobody')
    await page.click('#find-form button')
    await shows(page, '#found', /No error with the Tracking-ID nobody/)
  })

  await t.test('the station form shows a cached answer without a call upstream', async (t) => {
    const calls = service.upstream.calls.length
    await lookup(page, 'large')
    await shows(page, '#station', /\d+ s old, fresh for another/)
    t.equal(await page.locator('#station .connector').count(), 3)
    const labels = await page.locator('#station .bar').evaluateAll((bars) => bars.map((bar) => bar.ariaLabel))
    t.strictSame(labels, ['3 available, 2 occupied', '1 occupied', '1 available', '1 available, 1 occupied'])
    t.ok((await text(page, '#station')).includes(HOSTILE))
    const widths = await page
      .locator('#station .bar')
      .evaluateAll((bars) => bars.map((bar) => bar.clientWidth))
    t.ok((widths[0] ?? 0) > 4 * (widths[1] ?? 0), 'bars are proportional to the number of points')
    await lookup(page, 'not-cached')
    await shows(page, '#station', /not cached/)
    t.equal(service.upstream.calls.length, calls, 'no call was made')
  })

  await t.test('the station form calls upstream only if its box is checked', async (t) => {
    const calls = service.upstream.calls.length
    await lookup(page, 'not-cached', true)
    await shows(page, '#station', /0 s old/)
    t.equal(service.upstream.calls.length, calls + 1)
    await lookup(page, 'broken-2', true)
    await shows(page, '#station', /UpstreamFailed \(502\): upstream answered 500/)
  })

  await t.test('a click on the station of a failure looks it up', async (t) => {
    await page.locator('#failures button').last().click()
    await shows(page, '#station', /not cached/)
    t.equal(await page.inputValue('#station-id'), 'broken-1')
  })

  await t.test('the charts switch between ten minutes and an hour', async () => {
    await page.getByText('1 hour').click()
    await shows(page, '#requests-legend', /in the last minute/)
    await page.getByText('10 minutes').click()
  })

  await t.test('the page logs nothing, sends no request elsewhere and runs no injected markup', async (t) => {
    t.strictSame(consoleMessages, [])
    t.strictSame(
      requests.filter((url) => !url.startsWith(service.proxy.adminUrl)),
      [],
    )
    t.equal(await page.title(), 'EV availability proxy')
  })

  await t.test('a poll of the page transfers less than 8 kB', async (t) => {
    const poll = await page.waitForResponse((answer) => /\/status\?since=\d/.test(answer.url()))
    t.ok((await poll.body()).length < 8_000)
  })

  await t.test('the page shows a lost connection and recovers from it', async (t) => {
    await page.route('**/status?*', (route) => route.abort())
    await shows(page, '#live', /no response since/)
    await page.unroute('**/status?*')
    await page.locator('#live[data-state=live]').waitFor()
    t.ok((await text(page, '#live')).startsWith('live'))
  })

  for (const [name, options] of [
    ['light', { viewport: DESKTOP, colorScheme: 'light' }],
    ['dark', { viewport: DESKTOP, colorScheme: 'dark' }],
    ['phone', { viewport: PHONE, colorScheme: 'light', deviceScaleFactor: 2 }],
  ] as const) {
    await t.test(`the page fits its viewport: ${name}`, async (t) => {
      const { page } = await open(t, service, options)
      await shows(page, '#failures', /broken-1/)
      await lookup(page, 'large')
      await shows(page, '#station', /s old/)
      const width = await page.locator('html').evaluate((html) => html.scrollWidth)
      t.ok(width <= options.viewport.width, 'nothing overflows')
      t.equal(await page.locator('.plot canvas').count(), 3)
      await page.screenshot({ path: `${ARTEFACTS}status-${name}.png`, fullPage: true })
    })
  }
})

await t.test('the headline of the status page', { skip }, async (t) => {
  await t.test('the headline shows that upstream rejects calls, and why', async (t) => {
    const service = await startService(t, { script: answerStatus(403) })
    await service.get('chargingAvailability=a')
    const { page } = await open(t, service)
    await shows(page, '#headline', /Upstream rejects calls with 403 since .*check TOMTOM_API_KEY/)
    t.equal(await page.locator('#health').getAttribute('data-level'), 'bad')
    await shows(page, '#states', /rejected by upstream/)
    await page.screenshot({ path: `${ARTEFACTS}status-rejected.png` })
  })

  await t.test('the headline shows an open circuit breaker', async (t) => {
    const service = await startService(t, { script: answerStatus(500) })
    for (let i = 0; i < 10; i++) await service.get(`chargingAvailability=a${i}`)
    const { page } = await open(t, service)
    await shows(page, '#headline', /circuit breaker is open|last minute failed/)
    await shows(page, '.health', /Upstream fails since \d\d:\d\d:\d\d: .*last error: upstream answered 500/)
    await shows(page, '.health', /Stale answers last until \d\d:\d\d:\d\d at the latest/)
    await shows(page, '#changes', /circuit breaker opened\s*upstream answered 500/)
    t.equal(await page.locator('#health').getAttribute('data-level'), 'bad')
  })

  await t.test('the health summary shows an exhausted quota', async (t) => {
    const service = await startService(t, { env: { UPSTREAM_QUOTA: '1/day' } })
    for (let i = 0; i < 5; i++) await service.get(`chargingAvailability=a${i}`)
    const { page } = await open(t, service)
    await shows(page, '.health', /The quota is exhausted until/)
    await shows(page, '#quota-left', /0 of 1 left/)
  })

  await t.test(
    'the health summary shows that Redis is unavailable, and which purges wait for it',
    async (t) => {
      const service = await startService(t, { env: { REDIS_URL: 'redis://127.0.0.1:1' } })
      await service.get('chargingAvailability=a')
      const { page } = await open(t, service)
      await shows(page, '.health', /Redis cannot be reached/)
      await shows(page, '#states', /shared cache unavailable/)
      await service.requestAdmin('/status/station?id=a', { method: 'DELETE' })
      await shows(page, '.health', /The purge of a station waits for the shared cache/)
      await service.requestAdmin('/status/stations', { method: 'DELETE' })
      await shows(page, '.health', /The purge of all stations waits for the shared cache/)
    },
  )

  await t.test('the health summary shows that the state directory is unavailable', async (t) => {
    const parent = t.testdir({ state: {} })
    const service = await startService(t, { env: { STATE_DIR: `${parent}/state` } })
    await service.get('chargingAvailability=a')
    const { page } = await open(t, service)
    rmSync(`${parent}/state`, { recursive: true })
    writeFileSync(`${parent}/state`, '')
    await shows(page, '.health', /STATE_DIR cannot be used: this process shares no answers/)
    t.notMatch(await page.locator('.health').innerText(), /Redis/)
  })

  await t.test(
    'the health summary says what rationing does, and claims nothing of a longer TTL',
    async (t) => {
      const service = await startService(t, { env: { UPSTREAM_QUOTA: '20/day' } })
      for (let i = 0; i < 6; i++) await service.get(`chargingAvailability=a${i}`)
      const { page } = await open(t, service)
      await shows(
        page,
        '.health',
        /Calls are rationed: those that are left are released evenly until .*00:00/,
      )
    },
  )

  await t.test('one failure of many requests is not 0 %', async (t) => {
    const service = await startService(t, { script })
    for (let i = 0; i < 250; i++) await service.get('chargingAvailability=s1')
    await service.get('chargingAvailability=broken-1')
    const { page } = await open(t, service)
    await shows(page, '.health', /1 of 251 requests in the last minute failed \(0\.4 %\)/)
  })

  await t.test('the headline shows that the service drains', async (t) => {
    const service = await startService(t, { env: { DRAIN_DELAY: '5s' } })
    const { page } = await open(t, service)
    void service.proxy.stop()
    await shows(page, '#headline', /Draining/)
    await shows(page, '#states', /draining/)
  })
})

await t.test('the station form purges one station, or all after a confirmation', { skip }, async (t) => {
  const { page } = await open(t, await startService(t, { script }))
  await lookup(page, 'purge-me', true)
  await page.click('#station-purge')
  await shows(page, '#station', /This station is purged/)
  await lookup(page, 'purge-me', false)
  await shows(page, '#station', /not cached/)
  await lookup(page, 'purge-me', true)
  await shows(page, '#station', /fresh for another/)
  page.once('dialog', (dialog) => void dialog.dismiss())
  await page.click('#purge-all')
  await lookup(page, 'purge-me', false)
  await shows(page, '#station', /fresh for another/)
  page.once('dialog', (dialog) => void dialog.accept())
  await page.click('#purge-all')
  await shows(page, '#station', /All stations are purged/)
  await lookup(page, 'purge-me', false)
  await shows(page, '#station', /not cached/)
  t.pass()
})
