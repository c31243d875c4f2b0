/*
 * TomTom's web SDK as a client, with its host replaced by the proxy's. It is 14 MB and not open source, so it is no
 * dependency: TEST_TOMTOM_SDK=install gets it.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { NO_BROWSER, startBrowser } from '../support/browser.ts'
import { extraPackages } from '../support/extra-packages.ts'
import { answerStatus, sendJson } from '../support/scripted-upstream.ts'
import { perCall } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { connector, level, station } from '../support/stations.ts'

const VERSION = '6.25.0'
const packages = [`@tomtom-international/web-sdk-services@${VERSION}`]
const folder = await extraPackages({ name: 'tomtom-sdk', packages, variable: 'TEST_TOMTOM_SDK' })
const skip = folder === null && "TomTom's web SDK is not installed (TEST_TOMTOM_SDK=install)"

type Options = Record<string, unknown>
type Ask = (options: Options) => Promise<unknown>

/** The SDK sends to https and to hosts of TomTom alone. */
function sdkFor(file: string, proxyUrl: string): string {
  const text = readFileSync(join(folder ?? '', '@tomtom-international/web-sdk-services/dist', file), 'utf8')
  const host = proxyUrl.replace('http://', '')
  return text.replaceAll('api.tomtom.com', host).replaceAll('"https"', '"http"')
}

const script = perCall(({ id }) => {
  if (id === 'bad') return answerStatus(500)
  return (_call, response) =>
    sendJson(response, station(id, connector('Chademo', level(50, 1)), connector('Tesla', level(250, 2))))
})

/** In the way of the SDK: a failed item is its error body, without `statusCode`. */
const itemsOf = (result: unknown) =>
  (result as { batchItems: Options[] }).batchItems.map(
    ({ connectors, detailedError }) =>
      (connectors as { type: string }[] | undefined)?.map(({ type }) => type).join() ??
      (detailedError as { code: string }).code,
  )

const a = { chargingAvailability: 'a' }

async function readsBatches(t: Test, ask: Ask): Promise<void> {
  const key = 'a-key-of-a-client'
  t.strictSame(itemsOf(await ask({ key, batchItems: [a, { chargingAvailability: 'b' }, a] })), [
    'Chademo,Tesla',
    'Chademo,Tesla',
    'Chademo,Tesla',
  ])
  const filtered = [
    { ...a, connectorSet: ['Tesla', 'IEC62196Type3'] },
    { ...a, connectorSet: 'Chademo', key: 'a-key-of-an-item' },
    { ...a, minPowerKW: 50.1 },
    { ...a, minPowerKW: 1e21 },
    { ...a, maxPowerKW: 50 },
  ]
  t.strictSame(itemsOf(await ask({ key, batchItems: filtered })), [
    'Tesla',
    'Chademo',
    'Tesla',
    '',
    'Chademo',
  ])
  t.strictSame(itemsOf(await ask({ key, batchItems: [a, { chargingAvailability: 'bad' }, a] })), [
    'Chademo,Tesla',
    'UpstreamFailed',
    'Chademo,Tesla',
  ])
  t.match(await ask({ key, batchItems: [] }), { batchItems: [], summary: { totalRequests: 0 } })
  t.strictSame(itemsOf(await ask({ batchItems: [a] })), ['Chademo,Tesla'], 'without a key')
  t.match(await ask({ key, ...a }), { chargingAvailability: 'a' }, 'a single station')
}

await t.test("TomTom's web SDK reads batches in Node", { skip }, async (t) => {
  const { proxy } = await startService(t, { script })
  const dir = t.testdir({ 'sdk.cjs': sdkFor('services-node.min.js', proxy.url) })
  const { services } = createRequire(import.meta.url)(join(dir, 'sdk.cjs')) as {
    services: { evChargingStationsAvailability: Ask }
  }
  await readsBatches(t, (options) => services.evChargingStationsAvailability(options))
})

await t.test(
  "TomTom's web SDK reads batches in a page of another origin",
  { skip: skip || NO_BROWSER },
  async (t) => {
    const { proxy } = await startService(t, { script })
    const browser = await startBrowser()
    t.teardown(() => browser.close())
    const page = await browser.newPage()
    await page.goto(`${proxy.url.replace('127.0.0.1', 'localhost')}/healthz`)
    await page.addScriptTag({ content: sdkFor('services-web.min.js', proxy.url) })
    await readsBatches(t, (options) =>
      page.evaluate<unknown>(`tt.services.evChargingStationsAvailability(${JSON.stringify(options)})`),
    )
  },
)
