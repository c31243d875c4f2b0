import t from 'tap'
import type { Fault } from '../../src/simulator/fault-document.ts'
import { NOON, arrived, bodyOf, generated, get, started, statusOf, statuses } from './support.ts'

await t.test('the faults', async (t) => {
  const errors: [Fault, number, string, string][] = [
    [{ outcome: 'status', status: 400 }, 400, 'application/json', '"httpStatusCode":"400"'],
    [{ outcome: 'status', status: 401 }, 401, 'application/json', '"code":"Unauthorized"'],
    [
      { outcome: 'status', status: 403 },
      403,
      'application/json',
      '"You are not allowed to access this endpoint"',
    ],
    [{ outcome: 'status', status: 404 }, 404, 'application/json', '"httpStatusCode":"404"'],
    [{ outcome: 'status', status: 429 }, 429, 'application/json', '"code":"TooManyRequests"'],
    [{ outcome: 'status', status: 500 }, 500, 'application/json', 'InternalServerError'],
    [{ outcome: 'status', status: 503 }, 503, 'text/plain', 'no healthy upstream'],
    [{ outcome: 'status', status: 596 }, 596, 'text/html', '<h1>596 Service Not Found</h1>'],
    [{ outcome: 'status', body: 'InsufficientFunds' }, 403, 'application/json', '"code":"InsufficientFunds"'],
    [{ outcome: 'status', body: 'InvalidReferer' }, 403, 'application/json', '"code":"InvalidReferer"'],
    [{ outcome: 'status', body: 'DeveloperInactive' }, 403, 'text/html', '<h1>Developer Inactive</h1>'],
    [
      { outcome: 'status', body: 'DeveloperOverQps', status: 596 },
      596,
      'text/html',
      '<h1>Developer Over Qps</h1>',
    ],
  ]
  for (const [fault, status, type, text] of errors) {
    await t.test(`the fault ${JSON.stringify(fault)} gives the response of the real gateway`, async (t) => {
      const simulator = await started(t)
      simulator.setFaults(fault)
      const response = await get(simulator, 'chargingAvailability=a')
      t.equal(response.status, status)
      t.match(response.headers.get('content-type'), type)
      t.equal(response.headers.has('x-error-detail-header'), type === 'text/html')
      t.equal(response.headers.get('access-control-allow-origin'), null)
      t.ok((await response.text()).includes(text))
    })
  }

  await t.test('a Retry-After is sent in seconds or as any text', async (t) => {
    const simulator = await started(t)
    const values = [0, 7, 'Wed, 21 Oct 2026 07:28:00 GMT', 'soon']
    const found: (string | null)[] = []
    for (const retryAfter of values) {
      simulator.setFaults({ outcome: 'status', status: 429, retryAfter })
      found.push((await get(simulator, 'chargingAvailability=a')).headers.get('retry-after'))
    }
    t.same(found, values.map(String))
  })

  await t.test('a hang receives the call and never answers it', async (t) => {
    const simulator = await started(t)
    simulator.setFaults({ outcome: 'hang', times: 1 })
    const leaving = new AbortController()
    const hung = get(simulator, 'chargingAvailability=a', { signal: leaving.signal })
    const failed = t.rejects(hung, { name: 'AbortError' })
    await arrived(simulator, 1)
    t.equal(await statusOf(simulator), 200, 'other calls are answered meanwhile')
    leaving.abort()
    await failed
  })

  await t.test('a reset breaks the connection before the response', async (t) => {
    const simulator = await started(t)
    simulator.setFaults({ outcome: 'reset' })
    await t.rejects(get(simulator, 'chargingAvailability=a'), { cause: { code: 'ECONNRESET' } })
  })

  await t.test('a truncated response has a valid head and half a body', async (t) => {
    const simulator = await started(t)
    simulator.setFaults({ outcome: 'truncate' })
    const response = await get(simulator, 'chargingAvailability=a')
    t.equal(response.status, 200)
    t.equal(
      Number(response.headers.get('content-length')),
      JSON.stringify(generated('a')).length + fractions('a'),
    )
    await t.rejects(response.text())
  })

  await t.test('a drip sends the normal response byte by byte', async (t) => {
    const pauses: number[] = []
    const simulator = await started(t, { sleep: async (ms) => void pauses.push(ms) })
    simulator.setFaults({ outcome: 'drip', everyMs: 50 })
    const text = await (await get(simulator, 'chargingAvailability=1')).text()
    t.equal(text, '{"connectors":[],"chargingAvailability":"1"}')
    t.same(
      pauses,
      Array.from(text, () => 50),
    )
  })

  const bodies: [Fault, string, string][] = [
    [{ outcome: 'html' }, 'text/html', '<!doctype html>'],
    [{ outcome: 'null' }, 'application/json', 'null'],
    [{ outcome: 'wrong-shape' }, 'application/json', '{"connectors":"none"}'],
  ]
  for (const [fault, type, text] of bodies) {
    await t.test(`the fault ${fault.outcome} gives a 200 that is not a station`, async (t) => {
      const simulator = await started(t)
      simulator.setFaults(fault)
      const response = await get(simulator, 'chargingAvailability=a')
      t.equal(response.status, 200)
      t.equal(response.headers.get('content-type'), type)
      t.ok((await response.text()).startsWith(text))
    })
  }

  await t.test('wrong-id gives a valid response for another station', async (t) => {
    const simulator = await started(t)
    simulator.setFaults({ outcome: 'wrong-id' })
    t.same(await bodyOf(simulator, 'chargingAvailability=a'), generated('another-station'))
  })

  await t.test('a redirect leads to a path of the simulator, which logs calls that follow it', async (t) => {
    const simulator = await started(t)
    simulator.setFaults({ outcome: 'redirect', times: 1 })
    const response = await get(simulator, 'chargingAvailability=a')
    t.equal(response.status, 302)
    t.equal(response.headers.get('location'), '/moved')
    await fetch(new URL('/moved', simulator.url))
    t.equal(simulator.requests.at(-1)?.path, '/moved')
  })

  await t.test('a gzip bomb is small, decompresses to many bytes, and is valid JSON', async (t) => {
    const simulator = await started(t)
    const bytes = 3_000_000
    simulator.setFaults({ outcome: 'gzip-bomb', bytes })
    const response = await get(simulator, 'chargingAvailability=a')
    t.equal(response.headers.get('content-encoding'), 'gzip')
    const text = await response.text()
    t.ok(text.length > bytes)
    t.same(JSON.parse(text), generated('a'))
  })

  await t.test(
    'the latencies of faults add up, before the normal response and before an outcome',
    async (t) => {
      const pauses: number[] = []
      const simulator = await started(t, { latencyMs: 5, sleep: async (ms) => void pauses.push(ms) })
      simulator.setFaults([
        { latencyMs: 20 },
        { latencyMs: 100, times: 1 },
        { outcome: 'null', times: 1, latencyMs: 1000 },
      ])
      t.equal(await (await get(simulator, 'chargingAvailability=a')).text(), 'null')
      await bodyOf(simulator, 'chargingAvailability=a')
      t.same(pauses, [1125, 25])
    },
  )

  await t.test('a fault with times ends after that number of calls', async (t) => {
    const simulator = await started(t)
    simulator.setFaults({ outcome: 'status', status: 500, times: 2 })
    t.same(await statuses(simulator, 3), [500, 500, 200])
  })

  await t.test('a fault with a probability follows the injected random numbers', async (t) => {
    const drawn = [0.24, 0.25, 0.9, 0]
    const simulator = await started(t, { random: () => drawn.shift() ?? 1 })
    simulator.setFaults({ outcome: 'status', status: 500, probability: 0.25 })
    t.same(await statuses(simulator, 4), [500, 200, 200, 500])
  })

  await t.test('of several outcomes the first applies, and the next is not used up', async (t) => {
    const simulator = await started(t)
    simulator.setFaults([
      { outcome: 'status', status: 500, times: 1 },
      { outcome: 'status', status: 503, times: 1 },
    ])
    t.same(await statuses(simulator, 3), [500, 503, 200])
  })

  await t.test('outages occur at the end of every period', async (t) => {
    let now = NOON
    const simulator = await started(t, { outagePeriodMs: 60_000, now: () => now })
    const statusAt = async (ms: number) => {
      now = NOON + ms
      return statusOf(simulator)
    }
    t.same(
      [
        await statusAt(0),
        await statusAt(54_999),
        await statusAt(55_000),
        await statusAt(59_999),
        await statusAt(60_000),
      ],
      [200, 200, 503, 503, 200],
    )
  })
})

/** How many powers are whole numbers: each is printed two characters longer than by JSON.stringify. */
function fractions(id: string): number {
  const levels = generated(id).connectors.flatMap(({ availability }) => availability.perPowerLevel)
  return levels.filter(({ powerKW }) => Number.isInteger(powerKW)).length * 2
}
