import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import t from 'tap'
import { Pool } from 'undici'
import { arrivalsAt } from '../support/arrivals.ts'
import { StoppableClock } from '../support/clock.ts'
import type { WireResponse } from '../support/request.ts'
import { expectedJson } from '../support/expected.ts'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import type { Script } from '../support/scripted-upstream.ts'
import {
  answerStation,
  answerStatus,
  Barrier,
  ScriptedUpstream,
  sendJson,
} from '../support/scripted-upstream.ts'
import type { Service } from '../support/service.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { timed } from '../support/timed.ts'
import { until } from '../support/until.ts'

const TTL_MS = 200
const TIMEOUT_MS = 1_000
const SOFT_TIMEOUT_MS = 400
/** Tolerance for a loaded machine, in every duration asserted here. */
const SLACK_MS = 900
const MIB = 1024 * 1024

const ENV = {
  CACHE_TTL: `${TTL_MS}ms`,
  CACHE_STALE_WHILE_REVALIDATE: '0',
  CACHE_STALE_IF_ERROR: '1m',
  UPSTREAM_TIMEOUT: `${TIMEOUT_MS}ms`,
  UPSTREAM_SOFT_TIMEOUT: `${SOFT_TIMEOUT_MS}ms`,
}

/** For faults that are not slow: no timeout of the service may fire first on a loaded machine. */
const LONG_TIMEOUTS = { ...ENV, UPSTREAM_TIMEOUT: '10s', UPSTREAM_SOFT_TIMEOUT: '9900ms' }

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

interface Fault {
  readonly script: Script
  /** The error for stations that are not cached. */
  readonly status: number
  readonly code: string
  /** Calls for one request: two if the fault is retried. */
  readonly calls: 1 | 2
  /** Upper bound for the time until the error. */
  readonly withinMs: number
  /** Bounds of the Retry-After of the error, in seconds. */
  readonly retryAfter?: readonly [min: number, max: number]
  /** When the service calls again. */
  readonly againAfterMs: number
  /** Stale answers are served because of the wait alone: nothing has failed yet. */
  readonly slow?: true
}

const failed = (script: Script, more: Partial<Fault> = {}): Fault => ({
  script,
  status: 502,
  code: 'UpstreamFailed',
  calls: 1,
  withinMs: SLACK_MS,
  againAfterMs: 1_000,
  ...more,
})
const broken = (script: Script) => failed(script, { calls: 2 })
const timedOut = (script: Script) =>
  failed(script, { status: 504, code: 'UpstreamTimeout', withinMs: TIMEOUT_MS + SLACK_MS, slow: true })
const throttled = (retryAfter: string | null, min: number, max = min) =>
  failed(
    answerStatus(
      429,
      '<h1>Developer Over Qps</h1>',
      retryAfter === null ? {} : { 'retry-after': retryAfter },
    ),
    {
      status: 429,
      code: 'TooManyRequests',
      retryAfter: [min, max],
      againAfterMs: max * 1_000,
    },
  )
const rejected = (status: number, body: string) =>
  failed(answerStatus(status, body, { 'retry-after': '1' }), { code: 'UpstreamRefused' })

const write200 = (response: ServerResponse, headers: Record<string, string> = {}) =>
  response.writeHead(200, { 'content-type': 'application/json', ...headers })

const body =
  (content: string | Buffer, headers?: Record<string, string>): Script =>
  (_call, response) =>
    void write200(response, headers).end(content)

const drip =
  (head: boolean): Script =>
  ({ id }, response) => {
    const text = JSON.stringify(referenceStation(id))
    if (head) write200(response)
    let sent = 0
    const timer = setInterval(() => response.socket?.write(head ? `1\r\n${text[sent++]}\r\n` : ''), 20)
    response.on('close', () => clearInterval(timer))
    if (head) response.flushHeaders()
  }

/** An endless body, sent as fast as it is read. */
const flood = (onSent: (bytes: number) => void): Script => {
  const piece = Buffer.alloc(64 * 1024, ' ')
  return (_call, response) => {
    write200(response)
    const send = () => {
      do onSent(piece.length)
      while (response.write(piece))
    }
    response.on('drain', send)
    send()
  }
}

const ZEROS = gzipSync(Buffer.alloc(MIB))
/** A gigabyte of zeros in about a megabyte: a gzip file of 1,024 members. */
const BOMB = Buffer.concat(Array.from({ length: 1_024 }, () => ZEROS))

const FAULTS: Record<string, Fault> = {
  'that hangs': timedOut(() => {}),
  'that drips': timedOut(drip(true)),
  'that resets connections': broken((_call, response) => void response.socket?.resetAndDestroy()),
  'that closes the connection in the body': broken(({ id }, response) => {
    write200(response, { 'content-length': '9999' })
    response.write(JSON.stringify(referenceStation(id)), () => response.destroy())
  }),
  'that sends half a body': failed(({ id }, response) => {
    write200(response).end(JSON.stringify(referenceStation(id)).slice(0, -20))
  }),
  'that sends an endless body': failed(flood(() => {})),
  'that sends a gzip bomb': failed(body(BOMB, { 'content-encoding': 'gzip' })),
  'that sends more than a megabyte': failed(({ id }, response) => {
    sendJson(response, { ...referenceStation(id), note: ' '.repeat(MIB) })
  }),
  'that redirects': failed(answerStatus(302, '', { location: '/search/2/chargingAvailability.json' })),
  'that sends HTML': failed(body('<html><h1>Welcome</h1></html>', { 'content-type': 'text/html' })),
  'that sends another shape': failed(({ id }, response) => {
    sendJson(response, { chargingAvailability: id, connectors: [{ type: 'Tesla' }] })
  }),
  'that answers for another id': failed((_call, response) => {
    sendJson(response, referenceStation('another'))
  }),
  'that answers 500': failed(answerStatus(500, '{"error":"…"}')),
  'that answers 503': broken(answerStatus(503, 'no healthy upstream')),
  'that answers 596': failed(answerStatus(596, '<h1>596 Service Not Found</h1>')),
  'that answers 401': rejected(401, ''),
  'that answers 403 without credit': rejected(
    403,
    '{"detailedError":{"code":"InsufficientFunds","message":"…"}}',
  ),
  'that throttles for a second': throttled('1', 1),
  'that throttles for 0 seconds': throttled('0', 1),
  'that throttles until a date': throttled(new Date(Date.now() + 120_000).toUTCString(), 60, 120),
  'that throttles until a date in the past': throttled('Sun, 06 Nov 1994 08:49:37 GMT', 1),
  'that throttles for a day': throttled('86400', 300),
  'that throttles with an invalid Retry-After': throttled('soon', 5),
  'that throttles without Retry-After': throttled(null, 5),
}

/** How a response differs from a stale answer for the station; empty if it does not. */
function staleAnswerProblems(
  { status, headers, text }: WireResponse,
  id: string,
  detail: string | null,
): string[] {
  const cacheStatus = String(headers['cache-status'])
  const expected = new RegExp(
    `^ev-availability-proxy; hit; ttl=-\\d+${detail === null ? '' : `; detail=${detail}`}$`,
  )
  return [
    ...(status === 200 ? [] : [`status ${status}`]),
    ...(text === expectedJson(referenceStation(id)) ? [] : [text]),
    ...(expected.test(cacheStatus) ? [] : [cacheStatus]),
    ...(/^\d+$/.test(String(headers.age)) ? [] : [`Age ${headers.age}`]),
    ...(headers['retry-after'] === undefined ? [] : ['Retry-After']),
    ...commonHeaderProblems(headers),
  ]
}

/** What must hold for each fault, from the first request to the recovery. */
async function survives(t: Test, fault: Fault): Promise<void> {
  const clock = new StoppableClock()
  const service = await startService(t, { env: fault.slow ? ENV : LONG_TIMEOUTS, clock })
  const { upstream, get } = service
  const { status, code, withinMs, retryAfter: [min, max] = [1, Number.POSITIVE_INFINITY] } = fault
  const known = 'chargingAvailability=known'
  const unknown = 'chargingAvailability=unknown'
  t.equal((await get(known)).status, 200)
  await pause(TTL_MS + 10)
  upstream.script = fault.script
  clock.stop() // so that no back-off ends before its checks

  const first = await timed(get(unknown))
  t.strictSame(
    errorResponseProblems(first.answer, { status, code }),
    [],
    'an uncached station gets the error',
  )
  t.ok(first.activeMs < withinMs, `in time: ${first.activeMs} ms`)
  t.equal(upstream.callsFor('unknown'), fault.calls)
  if (status === 429) {
    const retryAfter = Number(first.answer.headers['retry-after'])
    t.ok(retryAfter >= min && retryAfter <= max, `Retry-After ${retryAfter}`)
  }

  const asXml = await timed(get(`${unknown}&minPowerKW=1`, { ext: 'xml' }))
  t.strictSame(
    errorResponseProblems(asXml.answer, { status, code, format: 'xml' }),
    [],
    'the error has the requested format',
  )
  t.equal(upstream.callsFor('unknown'), fault.calls, 'no call is made during the back-off')

  const stale = await timed(get(known))
  t.strictSame(
    staleAnswerProblems(stale.answer, 'known', fault.slow ? null : code),
    [],
    'a cached station gets its stale answer',
  )
  t.ok(stale.activeMs < SOFT_TIMEOUT_MS + SLACK_MS, `in time: ${stale.activeMs} ms`)
  const calls = upstream.callsFor('known')
  let next = await get(known)
  if (fault.slow) {
    await until('the call is over', async () => {
      next = await get(known)
      return String(next.headers['cache-status']).includes('detail')
    })
  } else t.equal(upstream.callsFor('known'), calls, 'no further call during the back-off')
  t.strictSame(
    staleAnswerProblems(next, 'known', code),
    [],
    'the stale answer again, with the error as detail',
  )

  clock.goOn()
  upstream.script = answerStation
  if (fault.againAfterMs > 1_000) return
  await pause(fault.againAfterMs)
  await until('both stations are fetched again', async () => {
    const answers = await Promise.all([get(known), get(unknown), pause(100)])
    return answers.slice(0, 2).every(isNew)
  })
}

const isNew = (answer: unknown) => {
  const { status, headers } = answer as WireResponse
  return status === 200 && !/detail/.test(String(headers['cache-status']))
}

await t.test('the service survives an upstream', async (t) => {
  t.jobs = 6
  for (const [name, fault] of Object.entries(FAULTS)) {
    void t.test(`the service survives an upstream ${name}`, { buffered: true }, (t) => survives(t, fault))
  }
})

await t.test('the memory for upstream bodies is bounded', async (t) => {
  await t.test('an endless body is cut at a megabyte', async (t) => {
    let sentBytes = 0
    let closed = 0
    const sendEndlessly = flood((bytes) => {
      sentBytes += bytes
    })
    const script: Script = (call, response, request) => {
      response.on('close', () => closed++)
      return sendEndlessly(call, response, request)
    }
    const { get } = await startService(t, { script, env: LONG_TIMEOUTS })
    const answers = await Promise.all(['a', 'b', 'c', 'd'].map((id) => get(`chargingAvailability=${id}`)))
    const problems = answers.map((answer) =>
      errorResponseProblems(answer, { status: 502, code: 'UpstreamFailed' }),
    )
    t.strictSame(problems.flat(), [])
    await until('upstream sees the end of each', () => closed === 4)
    t.ok(sentBytes < 4 * 12 * MIB, `${sentBytes} bytes read, buffers of the system included`)
  })

  await t.test('a gzip bomb is not decompressed', async (t) => {
    const { get } = await startService(t, {
      script: body(BOMB, { 'content-encoding': 'gzip' }),
      env: LONG_TIMEOUTS,
    })
    await get('chargingAvailability=warm')
    const before = process.memoryUsage().rss
    let peak = 0
    const timer = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss)
    }, 1)
    const answers = await Promise.all(['a', 'b', 'c'].map((id) => get(`chargingAvailability=${id}`)))
    clearInterval(timer)
    const problems = answers.map((answer) =>
      errorResponseProblems(answer, { status: 502, code: 'UpstreamFailed' }),
    )
    t.strictSame(problems.flat(), [])
    t.ok(peak - before < 100 * MIB, `${Math.round((peak - before) / MIB)} MiB more for three gigabytes`)
  })
})

await t.test('the service survives the death of upstream and its restart on the same port', async (t) => {
  const service = await startService(t, { env: LONG_TIMEOUTS })
  const { upstream, get } = service
  t.equal((await get('chargingAvailability=known')).status, 200)
  const { port } = upstream
  await upstream.stop()
  await pause(TTL_MS + 10)

  const unknown = await timed(get('chargingAvailability=unknown'))
  t.strictSame(errorResponseProblems(unknown.answer, { status: 502, code: 'UpstreamFailed' }), [])
  t.ok(unknown.activeMs < SLACK_MS, `the error comes at once: ${unknown.activeMs} ms`)
  const known = await get('chargingAvailability=known')
  t.strictSame(staleAnswerProblems(known, 'known', 'UpstreamFailed'), [])
  const ready = await service.requestAdmin('/readyz')
  t.equal(ready.status, 200, 'it stays ready, because it has stale answers')

  const back = await ScriptedUpstream.start(answerStation, port)
  t.teardown(() => back.stop())
  await pause(1_000)
  await until('both stations are fetched again', async () => {
    const answers = await Promise.all(['known', 'unknown'].map((id) => get(`chargingAvailability=${id}`)))
    await pause(100)
    return answers.every(isNew)
  })
  t.ok(back.callsFor('known') > 0 && back.callsFor('unknown') > 0)
})

/** 32 requests for one station: filters, formats, codings. */
const VARIANTS = [
  '',
  '&minPowerKW=10',
  '&maxPowerKW=30',
  '&connectorSet=IEC62196Type2Outlet',
  '&connectorSet=Tesla',
]
  .flatMap((filter) => [filter, `${filter}&key=mine`])
  .slice(0, 8)
  .flatMap((query) =>
    ['json', 'xml'].flatMap((ext) => ['gzip', 'identity'].map((coding) => ({ query, ext, coding }))),
  )

/** Sends 64 concurrent requests, and calls back once all have arrived. */
async function send64(t: Test, { get, proxy }: Service, onAllArrived: () => void): Promise<WireResponse[]> {
  const arrivals = arrivalsAt(proxy.addresses.public.port)
  t.teardown(arrivals.stop)
  const answers = [...VARIANTS, ...VARIANTS].map(({ query, ext, coding }) =>
    get(`chargingAvailability=a${query}`, { ext, headers: { 'accept-encoding': coding } }),
  )
  await arrivals.reached(64)
  onAllArrived()
  return Promise.all(answers)
}

const statuses = (answers: readonly WireResponse[]) => [...new Set(answers.map(({ status }) => status))]

/** The service with an upstream that waits until 64 requests have arrived, and the number of calls for them. */
async function waiters(t: Test, env: Record<string, string> = {}) {
  const clock = new StoppableClock()
  const service = await startService(t, { env: { ...LONG_TIMEOUTS, ...env }, clock })
  const { upstream } = service
  const requestAll = async (script: Script) => {
    const barrier = new Barrier()
    upstream.script = async (...call) => {
      await barrier.passed
      await script(...call)
    }
    const before = upstream.calls.length
    const answers = await send64(t, service, () => {
      barrier.open()
    })
    return { answers, calls: upstream.calls.length - before }
  }
  return { service, requestAll, clock }
}

await t.test('64 concurrent requests for one station in 32 variants', async (t) => {
  t.equal(VARIANTS.length, 32)

  await t.test('64 requests cause one call when uncached and one at each expiry', async (t) => {
    const { requestAll } = await waiters(t)
    const outcomes: [when: string, calls: number, statuses: number[]][] = []
    for (const when of ['uncached', 'expired', 'expired again']) {
      const { answers, calls } = await requestAll(answerStation)
      outcomes.push([when, calls, statuses(answers)])
      await pause(TTL_MS + 10)
    }
    t.strictSame(outcomes, [
      ['uncached', 1, [200]],
      ['expired', 1, [200]],
      ['expired again', 1, [200]],
    ])
  })

  await t.test('64 requests cause one call while stale answers may be served at once', async (t) => {
    const { service, requestAll } = await waiters(t, { CACHE_STALE_WHILE_REVALIDATE: '1m' })
    await service.get('chargingAvailability=a')
    await pause(TTL_MS + 10)
    const { answers, calls } = await requestAll(answerStation)
    t.strictSame(statuses(answers), [200])
    t.equal(calls, 1)
    t.ok(answers.every(({ headers }) => /; hit; ttl=-\d+$/.test(String(headers['cache-status']))))
  })

  for (const [name, script, status, code] of [
    ['fails', answerStatus(500), 502, 'UpstreamFailed'],
    ['throttles', answerStatus(429, '', { 'retry-after': '30' }), 429, 'TooManyRequests'],
    ['rejects the key', answerStatus(403), 502, 'UpstreamRefused'],
  ] as const) {
    await t.test(`64 requests cause one call while upstream ${name}, and the next 64 none`, async (t) => {
      const { requestAll, clock } = await waiters(t)
      clock.stop() // so that the back-off does not end
      const first = await requestAll(script)
      t.strictSame(statuses(first.answers), [status])
      t.equal(first.calls, 1)
      const next = await requestAll(script)
      t.strictSame(statuses(next.answers), [status])
      t.equal(next.calls, 0)
      t.ok([...first.answers, ...next.answers].every(({ text }) => text.includes(code)))
    })

    await t.test(
      `64 requests get the stale answer while upstream ${name}, with one call, and the next 64 with none`,
      async (t) => {
        const { service, requestAll, clock } = await waiters(t)
        await service.get('chargingAvailability=a')
        await pause(TTL_MS + 10)
        clock.stop()
        const [first, next] = [await requestAll(script), await requestAll(script)]
        t.strictSame([first.calls, next.calls], [1, 0])
        const answers = [...first.answers, ...next.answers]
        t.strictSame(statuses(answers), [200])
        const detail = `; detail=${code}`
        t.ok(answers.every(({ headers }) => String(headers['cache-status']).endsWith(detail)))
      },
    )
  }
})

await t.test(
  'an upstream that fails under load gets few calls, and cached stations are answered',
  async (t) => {
    const STATIONS = 40
    const service = await startService(t, { env: { ...LONG_TIMEOUTS, LOG_LEVEL: 'fatal' } })
    const { upstream, proxy, get } = service
    for (let i = 0; i < STATIONS; i++) await get(`chargingAvailability=known${i}`)
    await pause(TTL_MS + 10)
    upstream.script = answerStatus(500)
    const before = upstream.calls.length

    const client = new Pool(proxy.url, { connections: 8 })
    t.teardown(() => client.destroy())
    const latencies: number[] = []
    const seen = { known: new Set<number>(), unknown: new Set<number>() }
    let requests = 0
    const startedAt = performance.now()
    const isRunning = () => performance.now() - startedAt < 3_000 || requests < 1_500
    const worker = async () => {
      while (isRunning()) {
        const name = requests % 8 === 0 ? 'unknown' : 'known'
        const path = `/search/2/chargingAvailability.json?chargingAvailability=${name}${requests++ % STATIONS}`
        const sentAt = performance.now()
        const { statusCode, body } = await client.request({ path, method: 'GET' })
        await body.dump()
        seen[name].add(statusCode)
        if (name === 'known') latencies.push(performance.now() - sentAt)
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))

    const calls = upstream.calls.length - before
    t.ok(calls < requests / 100, `${calls} calls for ${requests} requests`)
    t.strictSame([...seen.known], [200], 'cached stations never get an error')
    t.strictSame(
      [...seen.unknown].toSorted((a, b) => a - b),
      [502, 503],
    )
    const sorted = latencies.toSorted((a, b) => a - b)
    const [median, p99] = [0.5, 0.99].map((part) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN)
    t.comment(`${requests} requests, ${calls} calls; known stations: median ${median} ms, p99 ${p99} ms`)
    t.ok(Number(median) < 50, `median ${median} ms`)

    upstream.script = answerStation
    await until('the service has recovered', async () => {
      await pause(200)
      return isNew(await get('chargingAvailability=new'))
    })
  },
)
