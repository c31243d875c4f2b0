import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Test } from 'tap'
import t from 'tap'
import { expectedJson } from '../support/expected.ts'
import { readExposition } from '../support/exposition.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import { answerStation, answerStatus } from '../support/scripted-upstream.ts'
import type { Service } from '../support/service.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'

/** What a loaded machine may add to any time that is promised here. */
const SLACK_MS = 900

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** When each call to the upstream went out, in ms, as the HTTP client tells it. */
function departuresTo(t: Test, { upstream }: Service): number[] {
  const departures: number[] = []
  const see = (message: unknown) => {
    const { request } = message as { request: { origin?: unknown } }
    if (String(request.origin) === upstream.origin) departures.push(performance.now())
  }
  subscribe('undici:request:create', see)
  t.teardown(() => unsubscribe('undici:request:create', see))
  return departures
}

/** The most that fall into one time of such a length, wherever it begins. */
function mostWithin(ms: number, times: readonly number[]): number {
  return Math.max(0, ...times.map((from) => times.filter((time) => time >= from && time < from + ms).length))
}

async function timed<T>(work: Promise<T>): Promise<{ readonly answer: T; readonly ms: number }> {
  const startedAt = performance.now()
  return { answer: await work, ms: performance.now() - startedAt }
}

const stationQuery = (i: number) => `chargingAvailability=s${i}`

await t.test('UPSTREAM_MAX_QPS=5 and 40 stations at once', async (t) => {
  const service = await startService(t, {
    env: { UPSTREAM_MAX_QPS: '5', UPSTREAM_QUEUE_TIMEOUT: '1s', UPSTREAM_TIMEOUT: '2s' },
  })
  const { upstream, get } = service
  const departures = departuresTo(t, service)
  const arrivals: number[] = []
  upstream.script = (call, response) => {
    arrivals.push(performance.now())
    answerStation(call, response)
  }
  const askAll = () => Promise.all(Array.from({ length: 40 }, (_, i) => timed(get(stationQuery(i)))))
  const first = await askAll()

  await t.test('five are answered at once, five after a second, and the others are refused at once', (t) => {
    const answered = first.filter(({ answer }) => answer.status === 200)
    const refused = first.filter(({ answer }) => answer.status !== 200)
    t.equal(answered.length, 10)
    const [earliest = 0, , , , fifth = 0, sixth = 0] = departures
    t.ok(fifth - earliest < 500, `${fifth - earliest} ms from the first call to the fifth`)
    t.ok(sixth - earliest >= 1_000, `${sixth - earliest} ms to the sixth`)
    for (const { answer } of refused) {
      t.strictSame(errorResponseProblems(answer, { status: 429, code: 'TooManyRequests' }), [])
    }
    const lastRefused = Math.max(...refused.map(({ ms }) => ms))
    t.ok(
      lastRefused < Math.max(...answered.map(({ ms }) => ms)),
      `${lastRefused} ms, and before the last answer`,
    )
    t.ok(Number(refused[0]?.answer.headers['retry-after']) >= 1)
    t.end()
  })

  await t.test('nobody waits longer than for a place and an answer', (t) => {
    const longest = Math.max(...first.map(({ ms }) => ms))
    t.ok(longest < 1_000 + 2_000 + 100, `${longest} ms`)
    t.end()
  })

  await t.test('who comes back gets it in the end, and no second sees more than five calls', async (t) => {
    let missing = 40
    for (let round = 0; round < 6 && missing > 0; round++) {
      const answers = await askAll()
      missing = answers.filter(({ answer }) => answer.status !== 200).length
    }
    t.equal(missing, 0)
    t.equal(upstream.calls.length, 40, 'one call for each')
    t.equal(departures.length, 40)
    t.equal(mostWithin(1_000, departures), 5)
    t.equal(mostWithin(800, arrivals), 5, 'nor upstream, give or take what a loaded machine takes to connect')
    const metrics = readExposition((await service.requestAdmin('/metrics')).text)
    t.equal(metrics.value('evproxy_upstream_queue_length'), 0)
    t.equal(metrics.value('evproxy_upstream_requests_total', { outcome: 'ok' }), 40)
  })
})

await t.test('UPSTREAM_MAX_QPS=5 and an upstream that hangs', async (t) => {
  const { get, upstream } = await startService(t, {
    script: () => {},
    env: { UPSTREAM_MAX_QPS: '5', UPSTREAM_QUEUE_TIMEOUT: '1s', UPSTREAM_TIMEOUT: '500ms' },
  })
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => timed(get(stationQuery(i)))))
  const waited = all.filter(({ answer }) => answer.status !== 429)
  for (const { answer } of waited) {
    t.strictSame(errorResponseProblems(answer, { status: 504, code: 'UpstreamTimeout' }), [])
  }
  t.equal(waited.length, 10)
  t.equal(upstream.calls.length, 10)
  const longest = Math.max(...all.map(({ ms }) => ms))
  t.ok(longest < 1_000 + 500 + SLACK_MS, `${longest} ms: the wait for a place and UPSTREAM_TIMEOUT`)
})

await t.test('UPSTREAM_QUOTA=5/day', async (t) => {
  const TTL_MS = 200
  const service = await startService(t, {
    env: {
      UPSTREAM_QUOTA: '5/day',
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
    'five stations have their answer, and the sixth learns when there are calls again',
    async (t) => {
      t.equal(before.value('evproxy_quota_limit'), 5)
      t.equal(before.value('evproxy_quota_remaining'), 5)
      t.equal(before.value('evproxy_quota_reset_timestamp_seconds'), midnight / 1_000)
      for (let i = 0; i < 5; i++) t.equal((await get(stationQuery(i))).status, 200)
      const sixth = await get(stationQuery(6), { ext: 'xml' })
      t.strictSame(errorResponseProblems(sixth, { status: 503, code: 'QuotaExhausted', format: 'xml' }), [])
      const secondsLeft = (midnight - Date.now()) / 1_000
      t.ok(
        Math.abs(Number(String(sixth.headers['retry-after'])) - secondsLeft) < 5,
        String(sixth.headers['retry-after']),
      )
    },
  )

  await t.test('who is held is still served, however often he is asked for', async (t) => {
    await pause(TTL_MS + 10)
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => get(stationQuery(i % 5))))
      for (const [i, { status, text, headers }] of answers.entries()) {
        t.equal(status, 200)
        t.equal(text, expectedJson(referenceStation(`s${i % 5}`)))
        t.match(headers['cache-status'], /; hit; ttl=-\d+; detail=QuotaExhausted$/)
      }
    }
  })

  await t.test('five calls were made, and the metrics say so', async (t) => {
    t.equal(upstream.calls.length, 5)
    const metrics = await readMetrics()
    t.equal(metrics.value('evproxy_quota_limit'), 5)
    t.equal(metrics.value('evproxy_quota_remaining'), 0)
    t.equal(metrics.value('evproxy_quota_reset_timestamp_seconds'), midnight / 1_000)
    t.equal(metrics.value('evproxy_cache_effective_ttl_seconds'), TTL_MS / 1_000)
    t.equal(metrics.sum('evproxy_upstream_requests_total'), 5)
    t.equal(metrics.value('evproxy_cache_requests_total', { result: 'miss' }), 5)
    t.equal(metrics.value('evproxy_cache_requests_total', { result: 'error' }), 1)
    t.equal(metrics.value('evproxy_cache_requests_total', { result: 'stale_error' }), 90)
    t.equal(metrics.value('evproxy_requests_total', { format: 'xml', status: '503' }), 1)
  })

  await t.test(
    'the operator was told at 60, 80 and 100 percent: the thresholds that five calls can pass',
    (t) => {
      const told = service.proxy.logs
        .filter(({ msg }) => msg === 'quota threshold reached')
        .map(({ percent }) => percent)
      t.strictSame(told, [50, 80, 100])
      t.end()
    },
  )
})

await t.test('a call that upstream cannot have seen is not taken off the quota', async (t) => {
  const service = await startService(t, { env: { UPSTREAM_QUOTA: '5/month' } })
  await service.upstream.stop()
  t.equal((await service.get(stationQuery(0))).status, 502)
  t.equal(await service.proxy.metric('evproxy_quota_remaining'), 5)
})

await t.test('a second attempt is taken off the quota like the first', async (t) => {
  const service = await startService(t, { script: answerStatus(503), env: { UPSTREAM_QUOTA: '5/month' } })
  t.equal((await service.get(stationQuery(0))).status, 502)
  t.equal(service.upstream.calls.length, 2)
  t.equal(await service.proxy.metric('evproxy_quota_remaining'), 3)
})

await t.test('an upstream that hangs', async (t) => {
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

  await t.test('costs who has an old answer UPSTREAM_SOFT_TIMEOUT, and not 100 ms more', async (t) => {
    const { get, upstream, proxy } = await expired(t, '1m')
    const took: number[] = []
    for (let i = 0; i < 5; i++) {
      const { answer, ms } = await timed(get(stationQuery(i)))
      t.equal(answer.status, 200)
      t.equal(answer.text, expectedJson(referenceStation(`s${i}`)))
      t.match(answer.headers['cache-status'], /; hit; ttl=-\d+$/)
      t.ok(ms >= SOFT_MS - 5 && ms < SOFT_MS + SLACK_MS, `${ms} ms`)
      took.push(ms)
    }
    const best = Math.min(...took)
    t.ok(best < SOFT_MS + 100, `${best} ms; the others had to share the machine`)
    t.equal(upstream.calls.length, 10, 'one call for each expiry')
    t.equal(await proxy.metric('evproxy_cache_requests_total{result="stale"}'), 5)
  })

  await t.test('costs who has none UPSTREAM_TIMEOUT, as well as who has one that is too old', async (t) => {
    const { get } = await expired(t, '0')
    for (const query of [stationQuery(0), 'chargingAvailability=never-seen']) {
      const { answer, ms } = await timed(get(query))
      t.strictSame(errorResponseProblems(answer, { status: 504, code: 'UpstreamTimeout' }), [])
      t.ok(ms > 990 && ms < 1_000 + SLACK_MS, `${ms} ms`)
    }
  })

  await t.test('is not waited for again before it had its time', async (t) => {
    const { get, upstream } = await expired(t, '1m')
    await get(stationQuery(0))
    await get(stationQuery(0))
    t.equal(upstream.callsFor('s0'), 2, 'the call under way is joined')
    upstream.script = answerStation
    await pause(1_000 - 2 * SOFT_MS)
    const { ms } = await timed(get(stationQuery(0)))
    t.ok(ms < SOFT_MS, `${ms} ms: after the failure the old answer comes at once`)
  })
})
