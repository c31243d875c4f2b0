import type { Test } from 'tap'
import t from 'tap'
import { arrivalsAt } from '../support/arrivals.ts'
import type { WireResponse } from '../support/request.ts'
import { expectedJson, expectedXml } from '../support/expected.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { Barrier, sendJson } from '../support/scripted-upstream.ts'
import type { Service } from '../support/service.ts'
import { waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'
import { until } from '../support/until.ts'

const ID = 'a'
const TYPE_2 = connector('IEC62196Type2Outlet', level(3.7, 1, 2), level(22, 4, 0), level(43, 0, 1))
const CCS = connector('IEC62196Type2CCS', level(50, 2, 1), level(150, 1, 1), level(350, 0, 2))
const TESLA = connector('Tesla', level(150, 3, 5))
const WHOLE = station(ID, TYPE_2, CCS, TESLA)

/** Each filter with what it leaves, worked out by hand. */
const FILTERS: readonly [filter: string, left: ReturnType<typeof station>][] = [
  ['', WHOLE],
  ['&connectorSet=IEC62196Type2CCS', station(ID, CCS)],
  ['&connectorSet=Tesla,IEC62196Type2Outlet', station(ID, TYPE_2, TESLA)],
  ['&minPowerKW=50', station(ID, CCS, TESLA)],
  [
    '&minPowerKW=22&maxPowerKW=50',
    station(
      ID,
      connector('IEC62196Type2Outlet', level(22, 4, 0), level(43, 0, 1)),
      connector('IEC62196Type2CCS', level(50, 2, 1)),
    ),
  ],
  [
    '&connectorSet=IEC62196Type2CCS&minPowerKW=151',
    station(ID, connector('IEC62196Type2CCS', level(350, 0, 2))),
  ],
  ['&maxPowerKW=1', station(ID)],
]

/** Requests that have come in, counted without the service's help. */
function arrivalsOf(t: Test, { proxy }: Service) {
  const arrivals = arrivalsAt(proxy.addresses.public.port)
  t.teardown(arrivals.stop)
  return arrivals
}

interface Asked {
  readonly answer: Promise<WireResponse | 'left'>
  readonly expected: string
  readonly gzipped: boolean
  readonly leave: () => void
}

/** A client; the number decides on its filter, its format and its coding. */
function client({ get }: Service, i: number): Asked {
  const [filter, left] = FILTERS[i % FILTERS.length] as (typeof FILTERS)[number]
  const ext = i % 2 === 0 ? 'json' : 'xml'
  const gzipped = i % 3 === 0
  const headers: Record<string, string> = gzipped ? { 'accept-encoding': 'gzip' } : {}
  const leaving = new AbortController()
  const asked = get(`chargingAvailability=${ID}${filter}`, { ext, headers, signal: leaving.signal })
  return {
    answer: asked.catch((error: unknown) => {
      if (leaving.signal.aborted) return 'left'
      throw error
    }),
    expected: ext === 'json' ? expectedJson(left) : expectedXml(left),
    gzipped,
    leave: () => {
      leaving.abort()
    },
  }
}

function sumOf(service: Service, results: readonly string[]): Promise<number> {
  const values = results.map((result) =>
    service.proxy.metric(`evproxy_cache_requests_total{result="${result}"}`),
  )
  return Promise.all(values).then((counts) => counts.reduce((sum, count) => sum + count, 0))
}

await t.test('500 clients who want one station in every way make one call', async (t) => {
  for (const ttl of ['30s', '0']) {
    await t.test(`with CACHE_TTL=${ttl}, also when the first of them and every fifth leave`, async (t) => {
      const barrier = new Barrier()
      const script = waitFor(barrier, (_call, response) => sendJson(response, WHOLE))
      const service = await startService(t, { script, env: { CACHE_TTL: ttl, UPSTREAM_TIMEOUT: '1m' } })
      const { upstream } = service
      const arrivals = arrivalsOf(t, service)

      const first = client(service, 0)
      await upstream.arrived(1)
      const clients = [first, ...Array.from({ length: 499 }, (_, i) => client(service, i + 1))]
      await arrivals.reached(500)
      const leavers = clients.filter((_, i) => i % 5 === 0)
      for (const { leave } of leavers) leave()
      for (const { answer } of leavers) t.equal(await answer, 'left')
      t.equal(upstream.calls.length, 1, 'one call while all wait')

      barrier.open()
      const stayed = clients.filter((_, i) => i % 5 !== 0)
      const wrong = []
      for (const { answer, expected, gzipped } of stayed) {
        const { status, text, headers } = (await answer) as WireResponse
        const coding = headers['content-encoding'] === 'gzip' || expected.length < 1_024
        if (status !== 200 || text !== expected || (gzipped && !coding))
          wrong.push({ status, text, expected })
      }
      t.same(wrong, [], 'the right answer for each of the 400 who stayed')
      t.equal(upstream.calls.length, 1, 'one call for all')
      t.equal(await sumOf(service, ['coalesced', 'miss']), 500, 'each is counted, those who left too')
    })
  }
})

await t.test('a flight belongs to nobody', async (t) => {
  await t.test('the one who began it may leave: the other gets the answer', async (t) => {
    const barrier = new Barrier()
    const service = await startService(t, { script: waitFor(barrier) })
    const arrivals = arrivalsOf(t, service)
    const first = client(service, 0)
    await service.upstream.arrived(1)
    const second = service.get(`chargingAvailability=${ID}`)
    await arrivals.reached(2)
    first.leave()
    t.equal(await first.answer, 'left')
    barrier.open()
    t.equal((await second).text, expectedJson(referenceStation(ID)))
    t.equal(service.upstream.calls.length, 1)
  })

  await t.test(
    'all may leave: the call is not broken off, and its answer is there for the next',
    async (t) => {
      const barrier = new Barrier()
      let brokenOff = false
      const script = waitFor(barrier)
      const service = await startService(t, {
        script: (call, response, request) => {
          response.once('close', () => {
            brokenOff = !response.writableFinished
          })
          return script(call, response, request)
        },
      })
      const arrivals = arrivalsOf(t, service)
      const clients = [0, 1, 2, 3].map((i) => client(service, i))
      await arrivals.reached(4)
      await service.upstream.arrived(1)
      for (const { leave } of clients) leave()
      for (const { answer } of clients) t.equal(await answer, 'left')
      barrier.open()
      await until(
        'the answer is held',
        async () => (await service.proxy.metric('evproxy_cache_entries')) === 1,
      )
      const next = await service.get(`chargingAvailability=${ID}`)
      t.match(next.headers['cache-status'], '; hit;')
      t.equal(brokenOff, false)
      t.equal(service.upstream.calls.length, 1)
    },
  )

  await t.test('who comes back after leaving joins again', async (t) => {
    const barrier = new Barrier()
    const service = await startService(t, { script: waitFor(barrier) })
    const arrivals = arrivalsOf(t, service)
    const first = client(service, 0)
    await service.upstream.arrived(1)
    first.leave()
    await first.answer
    const again = service.get(`chargingAvailability=${ID}`)
    await arrivals.reached(2)
    barrier.open()
    t.equal((await again).status, 200)
    t.equal(service.upstream.calls.length, 1)
  })
})

await t.test('CACHE_TTL=0 keeps nothing, whatever the other times are', async (t) => {
  const env = {
    CACHE_TTL: '0',
    CACHE_STALE_WHILE_REVALIDATE: '1h',
    CACHE_STALE_IF_ERROR: '1h',
    CACHE_EMPTY_TTL: '1h',
  }
  let broken = false
  const script: Script = ({ id, number }, response) => {
    if (broken) response.destroy()
    else sendJson(response, id === 'empty' ? station(id) : station(id, connector('Call', level(number))))
  }
  const service = await startService(t, { script, env })
  const { get, upstream, proxy } = service

  await t.test('one after the other, each has a call of its own', async (t) => {
    for (const call of [1, 2, 3]) {
      const { text } = await get('chargingAvailability=a')
      t.equal(text, expectedJson(station('a', connector('Call', level(call)))))
    }
    t.equal(upstream.calls.length, 3)
  })

  await t.test('so has a station without connectors', async (t) => {
    await get('chargingAvailability=empty')
    await get('chargingAvailability=empty')
    t.equal(upstream.callsFor('empty'), 2)
  })

  await t.test('and no old answer stands in for an error', async (t) => {
    broken = true
    t.equal((await get('chargingAvailability=a')).status, 502)
    t.equal(await proxy.metric('evproxy_cache_entries'), 0)
  })
})

await t.test('two ids never share', async (t) => {
  const barrier = new Barrier()
  const service = await startService(t, {
    script: waitFor(barrier),
    env: { UPSTREAM_MAX_CONNECTIONS: '100' },
  })
  const { get, upstream } = service
  const ids = [
    'a',
    'A',
    'a ',
    ' a',
    'aa',
    'a,a',
    'a|json',
    'a:',
    'a&',
    'á',
    'a\u0301',
    'ａ',
    '%61',
    '%2561',
    'a/',
    '__proto__',
    'toString',
  ]
  const answers = ids.flatMap((id) =>
    [1, 2, 3].map(async () => ({ id, answer: await get(`chargingAvailability=${encodeURIComponent(id)}`) })),
  )
  await upstream.arrived(ids.length)
  barrier.open()
  for (const { id, answer } of await Promise.all(answers)) {
    t.equal(answer.text, expectedJson(referenceStation(id)), JSON.stringify(id))
  }
  for (const id of ids) t.equal(upstream.callsFor(id), 1, `one call for ${JSON.stringify(id)}`)
  t.equal(upstream.calls.length, ids.length)
})

await t.test('a failure is shared', async (t) => {
  const failures: [name: string, script: Script, status: number, code: string][] = [
    ['500', (_call, response) => void response.writeHead(500).end(), 502, 'UpstreamFailed'],
    ['no answer', (_call, response) => sendJson(response, {}), 502, 'UpstreamFailed'],
    ['403', (_call, response) => void response.writeHead(403).end(), 502, 'UpstreamRefused'],
    ['404', (_call, response) => void response.writeHead(404).end(), 404, 'NotFound'],
  ]
  for (const [name, script, status, code] of failures) {
    await t.test(
      `${name}: 64 who wait get one error from one call, and whoever asks next does too`,
      async (t) => {
        const barrier = new Barrier()
        const service = await startService(t, { script: waitFor(barrier, script) })
        const { get, upstream } = service
        const arrivals = arrivalsOf(t, service)
        const ask = (i: number) => get(`chargingAvailability=${ID}`, { ext: i % 2 === 0 ? 'json' : 'xml' })
        const waiting = Array.from({ length: 64 }, (_, i) => ask(i))
        await arrivals.reached(64)
        await upstream.arrived(1)
        barrier.open()
        const faults = (await Promise.all(waiting)).flatMap((answer, i) =>
          errorResponseProblems(answer, { status, code, format: i % 2 === 0 ? 'json' : 'xml' }),
        )
        t.same(faults, [])
        t.equal(upstream.calls.length, 1, 'one call')
        for (const i of [0, 1, 2]) t.equal((await ask(i)).status, status)
        t.equal(upstream.calls.length, 1, 'and no other during the back-off')
        t.equal(await sumOf(service, ['error']), 67)
      },
    )
  }
})
