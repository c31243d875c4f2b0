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

/** Each filter with the station that it leaves, written by hand. */
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

/** Requests received, counted outside of the service. */
function arrivalsOf(t: Test, { proxy }: Service) {
  const arrivals = arrivalsAt(proxy.addresses.public.port)
  t.teardown(arrivals.stop)
  return arrivals
}

interface Client {
  readonly answer: Promise<WireResponse | 'disconnected'>
  readonly expected: string
  readonly gzipped: boolean
  readonly disconnect: () => void
}

/** A client; its number selects its filter, format and coding. */
function client({ get }: Service, i: number): Client {
  const [filter, left] = FILTERS[i % FILTERS.length] as (typeof FILTERS)[number]
  const ext = i % 2 === 0 ? 'json' : 'xml'
  const gzipped = i % 3 === 0
  const headers: Record<string, string> = gzipped ? { 'accept-encoding': 'gzip' } : {}
  const abort = new AbortController()
  const response = get(`chargingAvailability=${ID}${filter}`, { ext, headers, signal: abort.signal })
  return {
    answer: response.catch((error: unknown) => {
      if (abort.signal.aborted) return 'disconnected'
      throw error
    }),
    expected: ext === 'json' ? expectedJson(left) : expectedXml(left),
    gzipped,
    disconnect: () => {
      abort.abort()
    },
  }
}

function sumOf(service: Service, results: readonly string[]): Promise<number> {
  const values = results.map((result) =>
    service.proxy.metric(`evproxy_cache_requests_total{result="${result}"}`),
  )
  return Promise.all(values).then((counts) => counts.reduce((sum, count) => sum + count, 0))
}

await t.test('500 clients that request one station in every way share one call', async (t) => {
  for (const ttl of ['30s', '0']) {
    await t.test(
      `one call serves 500 clients with CACHE_TTL=${ttl}, even if the first and every fifth disconnect`,
      async (t) => {
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
        for (const { disconnect } of leavers) disconnect()
        const left = await Promise.all(leavers.map(({ answer }) => answer))
        t.ok(left.every((answer) => answer === 'disconnected'))
        t.equal(upstream.calls.length, 1, 'one call while all clients wait')

        barrier.open()
        const stayed = clients.filter((_, i) => i % 5 !== 0)
        const wrong = []
        for (const { answer, expected, gzipped } of stayed) {
          const { status, text, headers } = (await answer) as WireResponse
          const coding = headers['content-encoding'] === 'gzip' || expected.length < 1_024
          if (status !== 200 || text !== expected || (gzipped && !coding))
            wrong.push({ status, text, expected })
        }
        t.same(wrong, [], 'each of the 400 other clients gets the expected response')
        t.equal(upstream.calls.length, 1, 'one call for all clients')
        t.equal(
          await sumOf(service, ['coalesced', 'miss']),
          500,
          'each request is counted, also those of disconnected clients',
        )
      },
    )
  }
})

await t.test('a call in flight does not depend on any client', async (t) => {
  await t.test(
    'the client that started the call may disconnect: the other one gets the response',
    async (t) => {
      const barrier = new Barrier()
      const service = await startService(t, { script: waitFor(barrier) })
      const arrivals = arrivalsOf(t, service)
      const first = client(service, 0)
      await service.upstream.arrived(1)
      const second = service.get(`chargingAvailability=${ID}`)
      await arrivals.reached(2)
      first.disconnect()
      t.equal(await first.answer, 'disconnected')
      barrier.open()
      t.equal((await second).text, expectedJson(referenceStation(ID)))
      t.equal(service.upstream.calls.length, 1)
    },
  )

  await t.test(
    'all clients may disconnect: the call completes, and its answer is cached for the next request',
    async (t) => {
      const barrier = new Barrier()
      let isAborted = false
      const script = waitFor(barrier)
      const service = await startService(t, {
        script: (call, response, request) => {
          response.once('close', () => {
            isAborted = !response.writableFinished
          })
          return script(call, response, request)
        },
      })
      const arrivals = arrivalsOf(t, service)
      const clients = [0, 1, 2, 3].map((i) => client(service, i))
      await arrivals.reached(4)
      await service.upstream.arrived(1)
      for (const { disconnect } of clients) disconnect()
      await Promise.all(clients.map(({ answer }) => answer))
      barrier.open()
      await until(
        'the answer is cached',
        async () => (await service.proxy.metric('evproxy_cache_entries')) === 1,
      )
      const next = await service.get(`chargingAvailability=${ID}`)
      t.match(next.headers['cache-status'], '; hit;')
      t.equal(isAborted, false)
      t.equal(service.upstream.calls.length, 1)
    },
  )

  await t.test('a client that reconnects joins the call in flight again', async (t) => {
    const barrier = new Barrier()
    const service = await startService(t, { script: waitFor(barrier) })
    const arrivals = arrivalsOf(t, service)
    const first = client(service, 0)
    await service.upstream.arrived(1)
    first.disconnect()
    await first.answer
    const again = service.get(`chargingAvailability=${ID}`)
    await arrivals.reached(2)
    barrier.open()
    t.equal((await again).status, 200)
    t.equal(service.upstream.calls.length, 1)
  })
})

await t.test('CACHE_TTL=0 disables the cache, whatever the other durations are', async (t) => {
  const env = {
    CACHE_TTL: '0',
    CACHE_STALE_WHILE_REVALIDATE: '1h',
    CACHE_STALE_IF_ERROR: '1h',
    CACHE_EMPTY_TTL: '1h',
  }
  let isBroken = false
  const script: Script = ({ id, number }, response) => {
    if (isBroken) response.destroy()
    else sendJson(response, id === 'empty' ? station(id) : station(id, connector('Call', level(number))))
  }
  const service = await startService(t, { script, env })
  const { get, upstream, proxy } = service

  await t.test('each of several consecutive requests has its own call', async (t) => {
    const texts: string[] = []
    for (let i = 0; i < 3; i++) texts.push((await get('chargingAvailability=a')).text)
    t.strictSame(
      texts,
      [1, 2, 3].map((call) => expectedJson(station('a', connector('Call', level(call))))),
    )
    t.equal(upstream.calls.length, 3)
  })

  await t.test('each request for a station without connectors has its own call', async (t) => {
    await get('chargingAvailability=empty')
    await get('chargingAvailability=empty')
    t.equal(upstream.callsFor('empty'), 2)
  })

  await t.test('no stale answer replaces an error', async (t) => {
    isBroken = true
    t.equal((await get('chargingAvailability=a')).status, 502)
    t.equal(await proxy.metric('evproxy_cache_entries'), 0)
  })
})

await t.test('two ids never share a call or an answer', async (t) => {
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
  const received = await Promise.all(answers)
  t.strictSame(
    received.map(({ answer }) => answer.text),
    received.map(({ id }) => expectedJson(referenceStation(id))),
  )
  t.strictSame(upstream.calls.map(({ id }) => id).toSorted(), ids.toSorted(), 'one call for each')
})

await t.test('a failed call is shared by all waiters', async (t) => {
  const failures: [name: string, script: Script, status: number, code: string][] = [
    ['500', (_call, response) => void response.writeHead(500).end(), 502, 'UpstreamFailed'],
    ['no answer', (_call, response) => sendJson(response, {}), 502, 'UpstreamFailed'],
    ['403', (_call, response) => void response.writeHead(403).end(), 502, 'UpstreamRefused'],
    ['404', (_call, response) => void response.writeHead(404).end(), 404, 'NotFound'],
  ]
  for (const [name, script, status, code] of failures) {
    await t.test(
      `64 waiters get one error from one call that ends with ${name}, and so do the next requests`,
      async (t) => {
        const barrier = new Barrier()
        const service = await startService(t, { script: waitFor(barrier, script) })
        const { get, upstream } = service
        const arrivals = arrivalsOf(t, service)
        const request = (i: number) =>
          get(`chargingAvailability=${ID}`, { ext: i % 2 === 0 ? 'json' : 'xml' })
        const waiting = Array.from({ length: 64 }, (_, i) => request(i))
        await arrivals.reached(64)
        await upstream.arrived(1)
        barrier.open()
        const problems = (await Promise.all(waiting)).flatMap((answer, i) =>
          errorResponseProblems(answer, { status, code, format: i % 2 === 0 ? 'json' : 'xml' }),
        )
        t.same(problems, [])
        t.equal(upstream.calls.length, 1, 'one call')
        t.strictSame(
          (await Promise.all([0, 1, 2].map(request))).map((answer) => answer.status),
          [status, status, status],
        )
        t.equal(upstream.calls.length, 1, 'no other call during the back-off')
        t.equal(await sumOf(service, ['error']), 67)
      },
    )
  }
})
