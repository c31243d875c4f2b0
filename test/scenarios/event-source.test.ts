import t from 'tap'
import { NO_BROWSER, startBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startProxy } from '../support/proxy.ts'
import { ScriptedUpstream, sendJson } from '../support/scripted-upstream.ts'
import { connector, level, station } from '../support/stations.ts'
import { until } from '../support/until.ts'

await t.test(
  'a browser reconnects after a restart and gets only what has changed',
  { skip: NO_BROWSER },
  async (t) => {
    const free = new Map<string, number>()
    const upstream = await ScriptedUpstream.start(({ id }, response) =>
      sendJson(response, station(id, connector('Chademo', level(50, free.get(id) ?? 1)))),
    )
    const env = { PORT: String(await freePort()) }
    let proxy = await startProxy(upstream.origin, env)
    const browser = await startBrowser()
    t.teardown(async () => {
      await browser.close()
      await proxy.stop()
      await upstream.stop()
    })
    const page = await browser.newPage()
    await page.goto(`${proxy.url}/healthz`)
    await page.evaluate(`
    window.got = []
    window.source = new EventSource('/events?chargingAvailability=a&chargingAvailability=b')
    source.addEventListener('availability', ({ data }) => got.push(JSON.parse(data).chargingAvailability))
  `)
    const got = () => page.evaluate('got.join()') as Promise<string>
    await until('both stations arrive', async () => (await got()).length === 3)
    await proxy.stop()
    free.set('b', 4)
    proxy = await startProxy(upstream.origin, env)
    await until('the changed station arrives', async () => (await got()).length > 3, 20_000)
    await until('both are loaded again', () => upstream.calls.length === 4)
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.equal((await got()).slice(4), 'b')
  },
)
