import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import t from 'tap'
import { parse } from 'yaml'
import { ARTEFACTS, NO_BROWSER, startBrowser } from './support/browser.ts'
import type { Script } from './support/scripted-upstream.ts'
import { answerStatus, sendJson } from './support/scripted-upstream.ts'
import { startService } from './support/service.ts'
import { connector, level, station } from './support/stations.ts'
import { until } from './support/until.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const example = (path: string) => join(ROOT, 'examples', path)
const read = (path: string) => readFileSync(example(path), 'utf8')

/** The files of a folder on an origin of their own. */
async function serveFolder(t: Test, folder: string): Promise<string> {
  const server = createServer(({ url }, response) => {
    const name = url === '/' ? 'index.html' : (url ?? '').slice(1)
    if (!readdirSync(example(folder)).includes(name)) return response.writeHead(404).end()
    const type = name.endsWith('.js') ? 'text/javascript' : name.endsWith('.css') ? 'text/css' : 'text/html'
    return response.writeHead(200, { 'content-type': type }).end(read(`${folder}/${name}`))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://localhost:${(server.address() as AddressInfo).port}/`
}

await t.test('every example is listed in examples/README.md', (t) => {
  const folders = readdirSync(example(''), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const listed = [...read('README.md').matchAll(/^\| \[([\w-]+)\/\]/gm)].map(([, name]) => name)
  t.strictSame(new Set(listed), new Set(folders.map(({ name }) => name)))
  t.end()
})

await t.test(
  'the browser page shows a station and the error of another, served and as a file',
  { skip: NO_BROWSER },
  async (t) => {
    const { proxy, upstream } = await startService(t)
    const url = await serveFolder(t, 'browser')
    const browser = await startBrowser()
    t.teardown(() => browser.close())
    const page = await browser.newPage()
    const show = async (station: string, expected: RegExp) => {
      await page.fill('[name=proxy]', proxy.url)
      await page.fill('[name=station]', station)
      await page.click('button')
      await page.locator('[role=status]').filter({ hasText: expected }).waitFor()
    }
    await page.goto(url)
    await show('a', /^\d+ s old, ev-availability-proxy; fwd=uri-miss/)
    t.ok((await page.locator('tbody tr').count()) > 0, 'it has a row for each connector')
    await show('a', /^\d+ s old, ev-availability-proxy; hit/)
    upstream.script = answerStatus(500, '')
    await show('b', /^UpstreamFailed: /)
    await page.goto(pathToFileURL(example('browser/index.html')).href)
    await show('a', /^\d+ s old/)
  },
)

await t.test('the Node client prints a station with its age', async (t) => {
  const { proxy } = await startService(t)
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [example('node/client.mjs'), proxy.url, 'a'],
    {
      env: {},
    },
  )
  const { station, ageSeconds, isStale } = JSON.parse(stdout) as Record<string, unknown>
  t.match(station, { chargingAvailability: 'a' })
  t.strictSame([ageSeconds, isStale], [0, false])
})

await t.test('the Node client prints its usage without its arguments', async (t) => {
  const { code, stderr } = await promisify(execFile)(process.execPath, [example('node/client.mjs')]).then(
    () => ({ code: 0, stderr: '' }),
    (error: { code: number; stderr: string }) => error,
  )
  t.strictSame([code, stderr], [64, 'usage: node client.mjs <proxy> <station>\n'])
})

await t.test('the Node client repeats a 429 after its Retry-After and then reports the error', async (t) => {
  const { proxy, upstream } = await startService(t, {
    script: answerStatus(429, '', { 'retry-after': '1' }),
  })
  const client = promisify(execFile)(process.execPath, [example('node/client.mjs'), proxy.url, 'a'], {
    env: {},
  })
  const error = await client.then(
    () => null,
    ({ stderr }: { stderr: string }) => stderr,
  )
  t.match(error, /code: 'TooManyRequests',\s+status: 429/)
  t.ok(upstream.calls.length > 1, 'a later attempt reached upstream')
})

await t.test('the compose file of the sidecar is valid and uses settings that exist', async (t) => {
  const file = example('sidecar/docker-compose.yml')
  const dclint = join(ROOT, 'node_modules/.bin/dclint')
  const { stdout } = await promisify(execFile)(dclint, [
    '-c',
    join(ROOT, '.dclintrc'),
    '--max-warnings',
    '0',
    file,
  ])
  t.equal(stdout.trim(), '')
  const { services } = parse(read('sidecar/docker-compose.yml')) as {
    services: Record<string, { environment: Record<string, string>; network_mode?: string }>
  }
  t.equal(services['availability']?.network_mode, 'service:app')
  const documented = new Set(
    [...readFileSync(join(ROOT, '.env.example'), 'utf8').matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name),
  )
  const unknown = Object.keys(services['availability']?.environment ?? {}).filter(
    (name) => !documented.has(name),
  )
  t.strictSame(unknown, [])
})

await t.test(
  'the live list shows a list, follows changes, and says since when it is stale',
  { skip: NO_BROWSER },
  async (t) => {
    let free = 2
    const script: Script = ({ id }, response) => {
      if (id.endsWith('2')) return void response.writeHead(404).end()
      const { connectors } = station(
        id,
        connector('Chademo', level(50, free, 1)),
        connector('IEC62196Type2Outlet', level(22, 0, 4)),
      )
      const [first, second] = connectors
      const current = { available: 0, occupied: 1, reserved: 1, unknown: 2, outOfService: 0 }
      sendJson(response, {
        chargingAvailability: id,
        connectors: [first, { ...second, availability: { ...second?.availability, current } }],
      })
    }
    const { proxy, upstream } = await startService(t, {
      script,
      env: { CACHE_TTL: '50ms', CACHE_STALE_WHILE_REVALIDATE: '0' },
    })
    const url = await serveFolder(t, 'live-list')
    const browser = await startBrowser()
    t.teardown(() => browser.close())
    const page = await browser.newPage({ viewport: { width: 375, height: 800 }, colorScheme: 'dark' })
    const posts: string[] = []
    page.on('request', (request) => void posts.push(`${request.method()} ${new URL(request.url()).pathname}`))
    await page.route('**/stations.json', async (route) => {
      const stations = [1, 2, 3].map((number) => ({ id: `s${number}`, name: `Station ${number}` }))
      await route.fulfill({ json: { proxy: proxy.url, stations } })
    })
    await page.goto(url)
    const first = page.locator('article').first()
    await page.locator('#state', { hasText: 'live' }).waitFor()
    t.match(
      await first.innerText(),
      /Chademo, 50\skW[^]*2 free[^]*1 occupied[^]*0 free[^]*1 occupied[^]*2 unknown[^]*1 reserved[^]*no change seen yet/,
    )
    t.match(await page.locator('article').nth(1).innerText(), /not available/)
    const width = await page.evaluate('document.documentElement.scrollWidth')
    t.ok(Number(width) <= 375, `${String(width)} px wide`)
    free = 5
    await new Promise((resolve) => setTimeout(resolve, 60))
    await proxy.get('chargingAvailability=s1')
    await first.locator('text=5 free').waitFor()
    t.match(await first.innerText(), /changed \d/)
    t.equal(posts.filter((request) => request === 'POST /search/2/batch/sync.json').length, 1)
    t.equal(posts.filter((request) => request === 'GET /events').length, 1)
    await page.locator('#power').selectOption('150')
    await first.locator('text=no such connector').waitFor()
    await page.locator('#power').selectOption('')
    await first.locator('text=5 free').waitFor()
    const colourOfFree = () =>
      page.evaluate<string>("getComputedStyle(document.querySelector('.free')).color")
    const dark = await colourOfFree()
    await page.emulateMedia({ colorScheme: 'light' })
    t.not(await colourOfFree(), dark, 'it has colours for light and for dark')
    await page.setViewportSize({ width: 900, height: 500 })
    await page.screenshot({ path: `${ARTEFACTS}live-list.png` })
    await upstream.stop()
    await proxy.stop()
    await page.locator('#state', { hasText: /stale since \d/ }).waitFor()
  },
)

await t.test(
  'without streams the live list polls the batch with its ETag',
  { skip: NO_BROWSER },
  async (t) => {
    const { proxy } = await startService(t, { env: { EVENTS_MAX_STREAMS: '0' } })
    const url = await serveFolder(t, 'live-list')
    const browser = await startBrowser()
    t.teardown(() => browser.close())
    const page = await browser.newPage()
    await page.clock.install()
    const polls: [number, boolean][] = []
    page.on('response', (response) => {
      const request = response.request()
      if (request.method() === 'POST') polls.push([response.status(), 'if-none-match' in request.headers()])
    })
    await page.route('**/stations.json', (route) =>
      route.fulfill({ json: { proxy: proxy.url, stations: [{ id: 's1', name: 'Station 1' }] } }),
    )
    await page.goto(url)
    await until('the batch was polled', () => polls.length === 2)
    await page.locator('#state', { hasText: /^as of/ }).waitFor()
    await page.clock.runFor(30_000)
    await until('the batch was polled again', () => polls.length === 3)
    t.strictSame(polls, [
      [200, false],
      [304, true],
      [304, true],
    ])
    const stopped = page.locator('#state', { hasText: /^stale since/ }).waitFor()
    await proxy.stop()
    await page.clock.runFor(30_000)
    await stopped
  },
)
