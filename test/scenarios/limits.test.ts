import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Test } from 'tap'
import t from 'tap'
import { arrivalsAt } from '../support/arrivals.ts'
import { StoppableClock } from '../support/clock.ts'
import { expectedJson } from '../support/expected.ts'
import { readExposition } from '../support/exposition.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import { answerStation, answerStatus } from '../support/scripted-upstream.ts'
import type { Service } from '../support/service.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { activeNow, countActiveTime, timed } from '../support/timed.ts'

/** Tolerance for a loaded machine, in every duration asserted here. */
const SLACK_MS = 900

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** When a call to upstream was sent, in ms: by the clock, and without the time in which other processes ran. */
interface Departure {
  readonly at: number
  readonly activeAt: number
  readonly path: string
}

/** The calls to upstream, by the HTTP client's own event. */
function departuresTo(t: Test, { upstream }: Service): Departure[] {
  const departures: Departure[] = []
  const see = (message: unknown) => {
    const { request } = message as { request: { origin?: unknown; path: string } }
    if (String(request.origin) !== upstream.origin) return
    departures.push({ at: performance.now(), activeAt: activeNow(), path: request.path })
  }
  t.teardown(countActiveTime())
  subscribe('undici:request:create', see)
  t.teardown(() => unsubscribe('undici:request:create', see))
  return departures
}

/** The maximum number of times within any interval of a length. */
function maxWithin(ms: number, times: readonly number[]): number {
  return Math.max(0, ...times.map((from) => times.filter((time) => time >= from && time < from + ms).length))
}

const stationQuery = (i: number) => `chargingAvailability=s${i}`

await t.test('40 concurrent requests with UPSTREAM_MAX_QPS=5', async (t) => {
  const clock = new StoppableClock()
  const service = await startService(t, {
    env: { UPSTREAM_MAX_QPS: '5', UPSTREAM_QUEUE_TIMEOUT: '1s', UPSTREAM_TIMEOUT: '2s' },
    clock,
  })
  const { upstream, get } = service
  const departures = departuresTo(t, service)
  const arrivals: { readonly at: number; readonly transitMs: number }[] = []
  upstream.script = (call, response) => {
    const at = performance.now()
    const sentAt = departures.find(
      ({ path }) => path.includes(`=${call.id}&`) || path.endsWith(`=${call.id}`),
    )?.at
    arrivals.push({ at, transitMs: at - (sentAt ?? 0) })
    answerStation(call, response)
  }
  const requestAll = () => Promise.all(Array.from({ length: 40 }, (_, i) => timed(get(stationQuery(i)))))
  // For the service, the forty arrive at the same moment, however long a loaded machine takes.
  const arrived = arrivalsAt(service.proxy.addresses.public.port)
  t.teardown(arrived.stop)
  clock.stop({ holdsTimers: true })
  const requested = requestAll()
  await arrived.reached(40)
  clock.goOn()
  const first = await requested

  await t.test(
    'five requests are answered at once, five after a second, the others are limited at once',
    (t) => {
      const answered = first.filter(({ answer }) => answer.status === 200)
      const limited = first.filter(({ answer }) => answer.status !== 200)
      t.equal(answered.length, 10)
      const [earliest, , , , fifth, sixth] = departures as [Departure, ...Departure[]]
      const burstMs = (fifth?.activeAt ?? Number.NaN) - earliest.activeAt
      t.ok(burstMs < 500, `${burstMs} ms from the first call to the fifth`)
      const pauseMs = (sixth?.at ?? Number.NaN) - earliest.at
      t.ok(pauseMs >= 1_000, `${pauseMs} ms to the sixth`)
      const problems = limited.map(({ answer }) =>
        errorResponseProblems(answer, { status: 429, code: 'TooManyRequests' }),
      )
      t.strictSame(problems.flat(), [])
      const lastLimited = Math.max(...limited.map(({ ms }) => ms))
      t.ok(
        lastLimited < Math.max(...answered.map(({ ms }) => ms)),
        `${lastLimited} ms, and before the last answer`,
      )
      t.ok(Number(limited[0]?.answer.headers['retry-after']) >= 1)
      t.end()
    },
  )

  await t.test('no request waits longer than UPSTREAM_QUEUE_TIMEOUT and UPSTREAM_TIMEOUT together', (t) => {
    const longest = Math.max(...first.map(({ activeMs }) => activeMs))
    t.ok(longest < 1_000 + 2_000 + 100, `${longest} ms`)
    t.end()
  })

  await t.test(
    'repeated requests are answered in the end, and no second has more than five calls',
    async (t) => {
      let missing = 40
      for (let round = 0; round < 6 && missing > 0; round++) {
        const answers = await requestAll()
        missing = answers.filter(({ answer }) => answer.status !== 200).length
      }
      t.equal(missing, 0)
      t.equal(upstream.calls.length, 40, 'one call for each')
      t.equal(departures.length, 40)
      const sentAt = departures.map(({ at }) => at)
      t.equal(maxWithin(1_000, sentAt), 5)
      const longestTransit = Math.max(...arrivals.map(({ transitMs }) => transitMs))
      const arrivedAt = arrivals.map(({ at }) => at)
      const most = maxWithin(1_000 - longestTransit, arrivedAt)
      t.ok(most <= 5, `neither at upstream, with a tolerance for the time to connect: ${most}`)
      const metrics = readExposition((await service.requestAdmin('/metrics')).text)
      t.equal(metrics.value('evproxy_upstream_queue_length'), 0)
      t.equal(metrics.value('evproxy_upstream_requests_total', { outcome: 'ok' }), 40)
    },
  )
})

await t.test(
  'requests to an upstream that hangs wait for a slot and then for UPSTREAM_TIMEOUT',
  async (t) => {
    const clock = new StoppableClock()
    const { get, upstream, proxy } = await startService(t, {
      script: () => {},
      env: { UPSTREAM_MAX_QPS: '5', UPSTREAM_QUEUE_TIMEOUT: '1s', UPSTREAM_TIMEOUT: '500ms' },
      clock,
    })
    const arrived = arrivalsAt(proxy.addresses.public.port)
    t.teardown(arrived.stop)
    clock.stop({ holdsTimers: true })
    const requested = Promise.all(Array.from({ length: 20 }, (_, i) => timed(get(stationQuery(i)))))
    await arrived.reached(20)
    clock.goOn()
    const all = await requested
    const waited = all.filter(({ answer }) => answer.status !== 429)
    const problems = waited.map(({ answer }) =>
      errorResponseProblems(answer, { status: 504, code: 'UpstreamTimeout' }),
    )
    t.strictSame(problems.flat(), [])
    t.equal(waited.length, 10)
    t.equal(upstream.calls.length, 10)
    const longest = Math.max(...all.map(({ activeMs }) => activeMs))
    t.ok(longest < 1_000 + 500 + SLACK_MS, `${longest} ms: the wait for a slot and UPSTREAM_TIMEOUT`)
  },
)

await t.test('the service with UPSTREAM_QUOTA=20/day, of which a quarter is released at once', async (t) => {
  const TTL_MS = 200
  const service = await startService(t, {
    env: {
      UPSTREAM_QUOTA: '20/day',
      UPSTREAM_MAX_QPS: '5',
      CACHE_TTL: `${TTL_MS}ms`,
      CACHE_MAX_TTL: `${TTL_MS}ms`,
      CACHE_STALE_WHILE_REVALIDATE: '0',
      CACHE_STALE_IF_ERROR: '5m',
    },
  })
  const { upstream, get, requestAdmin } = service
  const readMetrics = async () => readExposition((await requestAdmin('/metrics')).text)
  const midnight = new Date().setUTCHours(24, 0, 0, 0)
  const before = await readMetrics()

  await t.test(
    'five stations are answered, and the error for the sixth has the time until a call is released',
    async (t) => {
      t.equal(before.value('evproxy_quota_limit'), 20)
      t.equal(before.value('evproxy_quota_remaining'), 20)
      t.equal(before.value('evproxy_quota_reset_timestamp_seconds'), midnight / 1_000)
      const answers: number[] = []
      for (let i = 0; i < 5; i++) answers.push((await get(stationQuery(i))).status)
      t.strictSame(answers, [200, 200, 200, 200, 200])
      const sixth = await get(stationQuery(6), { ext: 'xml' })
      t.strictSame(errorResponseProblems(sixth, { status: 503, code: 'QuotaExhausted', format: 'xml' }), [])
      const secondsLeft = (midnight - Date.now()) / 15_000
      t.ok(
        Math.abs(Number(String(sixth.headers['retry-after'])) - secondsLeft) < 5,
        String(sixth.headers['retry-after']),
      )
    },
  )

  await t.test('cached stations are still served, with any number of requests', async (t) => {
    await pause(TTL_MS + 10)
    const rounds = []
    for (let round = 0; round < 3; round++) {
      rounds.push(await Promise.all(Array.from({ length: 30 }, (_, i) => get(stationQuery(i % 5)))))
    }
    const answers = rounds.flat()
    t.strictSame(
      answers.map(({ status, text }) => [status, text]),
      answers.map((_, i) => [200, expectedJson(referenceStation(`s${i % 5}`))]),
    )
    const isStale = /; hit; ttl=-\d+; detail=QuotaExhausted$/
    t.ok(answers.every(({ headers }) => isStale.test(String(headers['cache-status']))))
  })

  await t.test('the metrics report the five calls', async (t) => {
    t.equal(upstream.calls.length, 5)
    const metrics = await readMetrics()
    t.equal(metrics.value('evproxy_quota_limit'), 20)
    t.equal(metrics.value('evproxy_quota_remaining'), 15)
    t.equal(metrics.value('evproxy_quota_reset_timestamp_seconds'), midnight / 1_000)
    t.equal(metrics.value('evproxy_cache_effective_ttl_seconds'), TTL_MS / 1_000)
    t.equal(metrics.sum('evproxy_upstream_requests_total'), 5)
    t.equal(metrics.value('evproxy_cache_requests_total', { result: 'miss' }), 5)
    t.equal(metrics.value('evproxy_cache_requests_total', { result: 'error' }), 1)
    t.equal(metrics.value('evproxy_cache_requests_total', { result: 'stale_error' }), 90)
    t.equal(metrics.value('evproxy_requests_total', { format: 'xml', status: '503' }), 1)
  })

  await t.test('what cannot be afforded is rejected at once and takes no slot', async (t) => {
    const hundred = (query: (i: number) => string) =>
      timed(Promise.all(Array.from({ length: 100 }, (_, i) => get(query(i)))))
    const control = await hundred(() => 'minPowerKW=invalid')
    const { answer: all, activeMs: ms } = await hundred((i) => stationQuery(100 + i))
    t.strictSame([...new Set(all.map(({ status }) => status))], [503])
    t.ok(ms < control.activeMs + SLACK_MS, `${ms} ms for a hundred; invalid ones took ${control.activeMs} ms`)
  })
})

await t.test(
  'calls that wait for their release are reported as rationed, before the demand is known too',
  async (t) => {
    const { get, proxy } = await startService(t, { env: { UPSTREAM_QUOTA: '20/day' } })
    const rationing = [await proxy.metric('evproxy_quota_rationing')]
    for (let i = 0; i < 4; i++) await get(stationQuery(i))
    rationing.push(await proxy.metric('evproxy_quota_rationing'))
    for (let i = 4; i < 6; i++) await get(stationQuery(i))
    rationing.push(await proxy.metric('evproxy_quota_rationing'))
    t.strictSame(rationing, [0, 0, 1], 'at the start, after four calls, and when the sixth was refused')
  },
)

await t.test('a call that was never sent is not charged to the quota', async (t) => {
  const service = await startService(t, { env: { UPSTREAM_QUOTA: '5/month' } })
  await service.upstream.stop()
  t.equal((await service.get(stationQuery(0))).status, 502)
  t.equal(await service.proxy.metric('evproxy_quota_remaining'), 5)
})

await t.test('a retry is charged to the quota like the first attempt', async (t) => {
  const service = await startService(t, { script: answerStatus(503), env: { UPSTREAM_QUOTA: '20/month' } })
  t.equal((await service.get(stationQuery(0))).status, 502)
  t.equal(service.upstream.calls.length, 2)
  t.equal(await service.proxy.metric('evproxy_quota_remaining'), 18)
})

await t.test('the service in front of an upstream that hangs', async (t) => {
  const SOFT_MS = 300
  const expired = async (t: Test, staleIfError: string) => {
    const service = await startService(t, {
      env: {
        CACHE_TTL: '100ms',
        CACHE_STALE_WHILE_REVALIDATE: '0',
        CACHE_STALE_IF_ERROR: staleIfError,
        UPSTREAM_SOFT_TIMEOUT: `${SOFT_MS}ms`,
        UPSTREAM_TIMEOUT: '1s',
      },
    })
    for (let i = 0; i < 5; i++) await service.get(stationQuery(i))
    await pause(110)
    service.upstream.script = () => {}
    return service
  }

  await t.test('a stale answer is served after UPSTREAM_SOFT_TIMEOUT, less than 100 ms late', async (t) => {
    const { get, upstream, proxy } = await expired(t, '1m')
    const all = []
    for (let i = 0; i < 5; i++) all.push(await timed(get(stationQuery(i))))
    t.strictSame(
      all.map(({ answer: { status, text } }) => [status, text]),
      all.map((_, i) => [200, expectedJson(referenceStation(`s${i}`))]),
    )
    t.ok(all.every(({ answer }) => /; hit; ttl=-\d+$/.test(String(answer.headers['cache-status']))))
    const shortest = Math.min(...all.map(({ ms }) => ms))
    const took = all.map(({ activeMs }) => activeMs)
    const [fastest, slowest] = [Math.min(...took), Math.max(...took)]
    t.ok(shortest >= SOFT_MS - 5 && slowest < SOFT_MS + SLACK_MS, `${shortest} to ${slowest} ms`)
    t.ok(fastest < SOFT_MS + 100, `${fastest} ms; on a loaded machine others take longer`)
    t.equal(upstream.calls.length, 10, 'one call for each expiry')
    t.equal(await proxy.metric('evproxy_cache_requests_total{result="stale"}'), 5)
  })

  await t.test('a station without a usable answer gets an error after UPSTREAM_TIMEOUT', async (t) => {
    const { get } = await expired(t, '0')
    const all = []
    for (const query of [stationQuery(0), 'chargingAvailability=never-seen']) {
      all.push(await timed(get(query)))
    }
    const problems = all.map(({ answer }) =>
      errorResponseProblems(answer, { status: 504, code: 'UpstreamTimeout' }),
    )
    t.strictSame(problems.flat(), [])
    t.ok(
      all.every(({ ms, activeMs }) => ms > 990 && activeMs < 1_000 + SLACK_MS),
      all.map(({ ms }) => `${ms} ms`).join(),
    )
  })

  await t.test(
    'a call in flight is joined, and the stale answer comes at once after its failure',
    async (t) => {
      const { get, upstream } = await expired(t, '1m')
      await get(stationQuery(0))
      await get(stationQuery(0))
      t.equal(upstream.callsFor('s0'), 2, 'the call in flight is joined')
      upstream.script = answerStation
      await pause(1_000 - 2 * SOFT_MS)
      const { activeMs: ms } = await timed(get(stationQuery(0)))
      t.ok(ms < SOFT_MS, `${ms} ms: after the failure the stale answer comes at once`)
    },
  )
})
