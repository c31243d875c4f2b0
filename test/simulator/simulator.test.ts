import t from 'tap'
import { NO_DEVIATIONS } from '../../src/simulator/deviations.ts'
import { CallLog } from '../../src/simulator/call-log.ts'
import type { Fault } from '../../src/simulator/fault-document.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { SettingsError, parseSettings } from '../../src/simulator/settings.ts'
import { NOON, arrived, get, started, statusOf, statuses } from './support.ts'

await t.test('the gateway', async (t) => {
  await t.test('a wrong or missing key is a 403 if the simulator has a key', async (t) => {
    const simulator = await started(t, { key: 'right' })
    const found = ['', '&key=wrong', '&key='].map(async (query) => {
      const response = await get(simulator, `chargingAvailability=a${query}`, { ext: 'xml' })
      return [response.status, await response.text()]
    })
    const body =
      '{"detailedError":{"code":"Forbidden","message":"You are not allowed to access this endpoint"}}'
    t.same(
      await Promise.all(found),
      found.map(() => [403, body]),
    )
    t.equal(await statusOf(simulator, 'chargingAvailability=a&key=right'), 200)
  })

  await t.test(
    'a call over the rate limit is a 429 with Retry-After, a second later it is answered',
    async (t) => {
      let now = NOON
      const simulator = await started(t, { maxQps: 2, now: () => now })
      t.same(await statuses(simulator, 3), [200, 200, 429])
      now += 999
      const late = await get(simulator, 'chargingAvailability=a')
      t.equal(late.status, 429)
      t.equal(late.headers.get('retry-after'), '1')
      now += 1
      t.same(await statuses(simulator, 3), [200, 200, 429])
    },
  )

  await t.test('the log has every call without its key', async (t) => {
    const simulator = await started(t)
    await get(simulator, 'key=secret&chargingAvailability=a&connectorSet=x&connectorSet=y', {
      headers: { 'X-Test': '1' },
    })
    const [call] = simulator.requests
    t.match(call, {
      number: 1,
      method: 'GET',
      path: '/search/2/chargingAvailability.json',
      at: NOON,
      hadKey: true,
    })
    t.equal(call?.headers['x-test'], '1')
    t.equal(String(call?.parameters), 'chargingAvailability=a&connectorSet=x&connectorSet=y')
  })

  await t.test('the log keeps the last thousand calls and counts all of them', async (t) => {
    const log = new CallLog()
    const call = {
      method: 'GET',
      path: '/',
      parameters: new URLSearchParams(),
      headers: {},
      deviations: NO_DEVIATIONS,
    }
    for (let number = 1; number <= 1001; number++) log.add(call, NOON)
    t.equal(log.count, 1001)
    t.equal(log.recent.length, 1000)
    t.same([log.recent[0]?.number, log.recent.at(-1)?.number], [2, 1001])
  })
})

await t.test('the simulator as a server', async (t) => {
  await t.test('close ends calls that hang, drip or are delayed', async (t) => {
    const faults: Fault[] = [{ outcome: 'hang' }, { outcome: 'drip', everyMs: 60_000 }, { latencyMs: 60_000 }]
    const results = faults.map(async (fault) => {
      const simulator = await startSimulator()
      simulator.setFaults(fault)
      const call = get(simulator, 'chargingAvailability=a').then((response) => response.text())
      const [settled] = await Promise.all([
        Promise.allSettled([call]),
        arrived(simulator, 1).then(() => simulator.close()),
      ])
      return settled[0].status
    })
    t.same(await Promise.all(results), ['rejected', 'rejected', 'rejected'])
  })

  await t.test('twenty delayed calls at once cause no warning', async (t) => {
    const warnings: string[] = []
    const note = ({ name }: Error) => void warnings.push(name)
    process.on('warning', note)
    const simulator = await started(t, { latencyMs: 20 })
    const all = await Promise.all(Array.from({ length: 20 }, () => statusOf(simulator)))
    await new Promise((resolve) => setImmediate(resolve)) // a warning is emitted in a turn of its own
    process.off('warning', note)
    t.strictSame(new Set(all), new Set([200]))
    t.strictSame(warnings, [])
  })

  await t.test('a start on a port in use rejects', async (t) => {
    const { port } = await started(t)
    await t.rejects(startSimulator({ port }), { code: 'EADDRINUSE' })
  })

  await t.test('an error thrown by stations is a 500 with its message', async (t) => {
    const simulator = await started(t, {
      stations: () => {
        throw new Error('no such double')
      },
    })
    const response = await get(simulator, 'chargingAvailability=a')
    t.equal(response.status, 500)
    t.match(await response.text(), 'no such double')
  })

  await t.test('the settings come from the environment, an empty variable counts as unset', async (t) => {
    t.same(parseSettings({ SIM_KEY: '', SIM_PORT: ' ' }), {
      host: '127.0.0.1',
      port: 9090,
      key: null,
      latencyMs: 0,
      maxQps: 0,
      outagePeriodMs: 0,
      changeSpeed: 1,
      deviations: [],
    })
    const all = {
      SIM_HOST: '::1',
      SIM_PORT: '0',
      SIM_KEY: 'k',
      SIM_LATENCY: '5',
      SIM_MAX_QPS: '6',
      SIM_HICCUP: '7',
      SIM_CHANGE_SPEED: '8',
      SIM_DEVIATIONS: 'etag,post',
    }
    t.same(parseSettings(all), {
      host: '::1',
      port: 0,
      key: 'k',
      latencyMs: 5,
      maxQps: 6,
      outagePeriodMs: 7,
      changeSpeed: 8,
      deviations: ['etag', 'post'],
    })
  })

  await t.test('all invalid settings are reported at once', async (t) => {
    const message =
      /SIM_PORT: expected a whole number from 0 to 65535, got "65536"\n.*SIM_LATENCY: .*got "5ms"/
    t.throws(() => parseSettings({ SIM_PORT: '65536', SIM_LATENCY: '5ms' }), { message })
    t.throws(() => parseSettings({ SIM_HICCUP: '-1' }), SettingsError)
    t.throws(() => parseSettings({ SIM_DEVIATIONS: 'etags' }), {
      message: /SIM_DEVIATIONS: expected names of/,
    })
  })
})
