import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import t from 'tap'
import { Pool } from 'undici'
import { arrivalsAt } from '../support/arrivals.ts'
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
import { until } from '../support/until.ts'

const TTL_MS = 200
const TIMEOUT_MS = 1_000
const SOFT_TIMEOUT_MS = 400
/** What a loaded machine may add to any time that is promised here. */
const SLACK_MS = 900
const MIB = 1024 * 1024

const ENV = {
  CACHE_TTL: `${TTL_MS}ms`,
  CACHE_STALE_WHILE_REVALIDATE: '0',
  CACHE_STALE_IF_ERROR: '1m',
  UPSTREAM_TIMEOUT: `${TIMEOUT_MS}ms`,
  UPSTREAM_SOFT_TIMEOUT: `${SOFT_TIMEOUT_MS}ms`,
}

/** Where nothing is slow, no time of the service's own may come first on a loaded machine. */
const PATIENT = { ...ENV, UPSTREAM_TIMEOUT: '10s', UPSTREAM_SOFT_TIMEOUT: '10s' }

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

interface Fault {
  readonly script: Script
  /** What those learn who have nothing. */
  readonly status: number
  readonly code: string
  /** Calls for one request: two where a second attempt promises something. */
  readonly calls: 1 | 2
  /** How long the error takes at the longest. */
  readonly withinMs: number
  /** Bounds of the Retry-After that clients are told, in seconds. */
  readonly retryAfter?: readonly [least: number, most: number]
  /** When the service asks again. */
  readonly againAfterMs: number
  /** Old answers are served for the wait alone: nothing has failed yet. */
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
const throttled = (retryAfter: string | null, least: number, most = least) =>
  failed(
    answerStatus(
      429,
      '<h1>Developer Over Qps</h1>',
      retryAfter === null ? {} : { 'retry-after': retryAfter },
    ),
    {
      status: 429,
      code: 'TooManyRequests',
      retryAfter: [least, most],
      againAfterMs: most * 1_000,
    },
  )
const refused = (status: number, body: string) =>
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

/** Pours without end, as fast as it is taken. */
const flood = (poured: (bytes: number) => void): Script => {
  const piece = Buffer.alloc(64 * 1024, ' ')
  return (_call, response) => {
    write200(response)
    const pour = () => {
      do poured(piece.length)
      while (response.write(piece))
    }
    response.on('drain', pour)
    pour()
  }
}

const ZEROS = gzipSync(Buffer.alloc(MIB))
/** A gigabyte of zeros in a megabyte: as many members of a gzip file as it takes. */
const BOMB = Buffer.concat(Array.from({ length: 1_024 }, () => ZEROS))

const FAULTS: Record<string, Fault> = {
  hangs: timedOut(() => {}),
  drips: timedOut(drip(true)),
  resets: broken((_call, response) => void response.socket?.resetAndDestroy()),
  'breaks off in the body': broken(({ id }, response) => {
    write200(response, { 'content-length': '9999' })
    response.write(JSON.stringify(referenceStation(id)), () => response.destroy())
  }),
  'sends half an answer as a whole one': failed(({ id }, response) => {
    write200(response).end(JSON.stringify(referenceStation(id)).slice(0, -20))
  }),
  floods: failed(flood(() => {})),
  'sends a bomb': failed(body(BOMB, { 'content-encoding': 'gzip' })),
  'sends more than a megabyte': failed(({ id }, response) => {
    sendJson(response, { ...referenceStation(id), note: ' '.repeat(MIB) })
  }),
  redirects: failed(answerStatus(302, '', { location: '/search/2/chargingAvailability.json' })),
  'sends HTML': failed(body('<html><h1>Welcome</h1></html>', { 'content-type': 'text/html' })),
  'sends another shape': failed(({ id }, response) => {
    sendJson(response, { chargingAvailability: id, connectors: [{ type: 'Tesla' }] })
  }),
  'answers for another id': failed((_call, response) => {
    sendJson(response, referenceStation('another'))
  }),
  'says 500': failed(answerStatus(500, '{"error":"…"}')),
  'says 503': broken(answerStatus(503, 'no healthy upstream')),
  'says 596': failed(answerStatus(596, '<h1>596 Service Not Found</h1>')),
  'says 401': refused(401, ''),
  'says 403 for want of credit': refused(403, '{"detailedError":{"code":"InsufficientFunds","message":"…"}}'),
  'throttles for a second': throttled('1', 1),
  'throttles for no time at all': throttled('0', 1),
  'throttles up to a date': throttled(new Date(Date.now() + 120_000).toUTCString(), 60, 120),
  'throttles up to a date that is over': throttled('Sun, 06 Nov 1994 08:49:37 GMT', 1),
  'throttles for a day': throttled('86400', 300),
  'throttles for it knows not how long': throttled('soon', 5),
  'throttles and does not say for how long': throttled(null, 5),
}

interface Timed {
  readonly answer: WireResponse
  readonly ms: number
}

async function timed(answer: Promise<WireResponse>): Promise<Timed> {
  const startedAt = performance.now()
  return { answer: await answer, ms: performance.now() - startedAt }
}

/** In what an answer differs from the old one of a station, served in place of an error; nothing, if it is one. */
function oldAnswerFaults(
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

/** The promise of each fault, from the first request to the recovery. */
async function survives(t: Test, fault: Fault): Promise<void> {
  const service = await startService(t, { env: fault.slow ? ENV : PATIENT })
  const { upstream, get } = service
  const { status, code, withinMs, retryAfter: [least, most] = [1, Number.POSITIVE_INFINITY] } = fault
  const known = 'chargingAvailability=known'
  const unknown = 'chargingAvailability=unknown'
  t.equal((await get(known)).status, 200)
  await pause(TTL_MS + 10)
  upstream.script = fault.script

  const first = await timed(get(unknown))
  t.strictSame(errorResponseProblems(first.answer, { status, code }), [], 'who has nothing gets the error')
  t.ok(first.ms < withinMs, `in time: ${first.ms} ms`)
  t.equal(upstream.callsFor('unknown'), fault.calls)
  if (status === 429) {
    const retryAfter = Number(first.answer.headers['retry-after'])
    t.ok(retryAfter >= least && retryAfter <= most, `Retry-After ${retryAfter}`)
  }

  const asXml = await timed(get(`${unknown}&minPowerKW=1`, { ext: 'xml' }))
  t.strictSame(
    errorResponseProblems(asXml.answer, { status, code, format: 'xml' }),
    [],
    'in the format of choice',
  )
  t.equal(upstream.callsFor('unknown'), fault.calls, 'and no call is made for it')

  const old = await timed(get(known))
  t.strictSame(
    oldAnswerFaults(old.answer, 'known', fault.slow ? null : code),
    [],
    'who has an old answer keeps it',
  )
  t.ok(old.ms < SOFT_TIMEOUT_MS + SLACK_MS, `in time: ${old.ms} ms`)
  const calls = upstream.callsFor('known')
  let next = await get(known)
  if (fault.slow) {
    await until('the call is over', async () => {
      next = await get(known)
      return String(next.headers['cache-status']).includes('detail')
    })
  } else t.equal(upstream.callsFor('known'), calls, 'no call more in the back-off')
  t.strictSame(oldAnswerFaults(next, 'known', code), [], 'again, and why')

  upstream.script = answerStation
  if (fault.againAfterMs > 1_000) return
  await pause(fault.againAfterMs)
  await until('both are answered anew', async () => {
    const answers = await Promise.all([get(known), get(unknown), pause(100)])
    return answers.slice(0, 2).every(isNew)
  })
}

const isNew = (answer: unknown) => {
  const { status, headers } = answer as WireResponse
  return status === 200 && !/detail/.test(String(headers['cache-status']))
}

await t.test('upstream', async (t) => {
  t.jobs = 6
  for (const [name, fault] of Object.entries(FAULTS)) {
    void t.test(name, { buffered: true }, (t) => survives(t, fault))
  }
})

await t.test('memory stays flat', async (t) => {
  await t.test('a flood is cut at a megabyte', async (t) => {
    let poured = 0
    let closed = 0
    const pours = flood((bytes) => {
      poured += bytes
    })
    const script: Script = (call, response, request) => {
      response.on('close', () => closed++)
      return pours(call, response, request)
    }
    const { get } = await startService(t, { script, env: PATIENT })
    const answers = await Promise.all(['a', 'b', 'c', 'd'].map((id) => get(`chargingAvailability=${id}`)))
    for (const answer of answers)
      t.strictSame(errorResponseProblems(answer, { status: 502, code: 'UpstreamFailed' }), [])
    await until('upstream sees the end of each', () => closed === 4)
    t.ok(poured < 4 * 12 * MIB, `${poured} bytes taken, buffers of the system included`)
  })

  await t.test('a bomb does not go off', async (t) => {
    const { get } = await startService(t, {
      script: body(BOMB, { 'content-encoding': 'gzip' }),
      env: PATIENT,
    })
    await get('chargingAvailability=warm')
    const before = process.memoryUsage().rss
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss)
    }, 1)
    const answers = await Promise.all(['a', 'b', 'c'].map((id) => get(`chargingAvailability=${id}`)))
    clearInterval(timer)
    for (const answer of answers)
      t.strictSame(errorResponseProblems(answer, { status: 502, code: 'UpstreamFailed' }), [])
    t.ok(most - before < 100 * MIB, `${Math.round((most - before) / MIB)} MiB more for three gigabytes`)
  })
})

await t.test('upstream dies, and comes back on the same port', async (t) => {
  const service = await startService(t, { env: PATIENT })
  const { upstream, get } = service
  t.equal((await get('chargingAvailability=known')).status, 200)
  const { port } = upstream
  await upstream.stop()
  await pause(TTL_MS + 10)

  const unknown = await timed(get('chargingAvailability=unknown'))
  t.strictSame(errorResponseProblems(unknown.answer, { status: 502, code: 'UpstreamFailed' }), [])
  t.ok(unknown.ms < SLACK_MS, `told at once: ${unknown.ms} ms`)
  const known = await get('chargingAvailability=known')
  t.strictSame(oldAnswerFaults(known, 'known', 'UpstreamFailed'), [])
  const ready = await service.requestAdmin('/readyz')
  t.equal(ready.status, 200, 'it stays ready: its old answers are of use')

  const back = await ScriptedUpstream.start(answerStation, port)
  t.teardown(() => back.stop())
  await pause(1_000)
  await until('both are answered anew', async () => {
    const answers = await Promise.all(['known', 'unknown'].map((id) => get(`chargingAvailability=${id}`)))
    await pause(100)
    return answers.every(isNew)
  })
  t.ok(back.callsFor('known') > 0 && back.callsFor('unknown') > 0)
})

/** 32 ways to ask for one station: filters, formats, codings. */
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

/** 64 clients at once; they hold together at the upstream, if one of them gets that far. */
async function sixtyFour(
  t: Test,
  { get, proxy }: Service,
  whenAllAreHere: () => void,
): Promise<WireResponse[]> {
  const arrivals = arrivalsAt(proxy.addresses.public.port)
  t.teardown(arrivals.stop)
  const answers = [...VARIANTS, ...VARIANTS].map(({ query, ext, coding }) =>
    get(`chargingAvailability=a${query}`, { ext, headers: { 'accept-encoding': coding } }),
  )
  await arrivals.reached(64)
  whenAllAreHere()
  return Promise.all(answers)
}

const statuses = (answers: readonly WireResponse[]) => [...new Set(answers.map(({ status }) => status))]

/** The service, an upstream that waits, and how many calls 64 at once cost. */
async function crowd(t: Test, env: Record<string, string> = {}) {
  const service = await startService(t, { env: { ...PATIENT, ...env } })
  const { upstream } = service
  const ask = async (script: Script) => {
    const barrier = new Barrier()
    upstream.script = async (...call) => {
      await barrier.passed
      await script(...call)
    }
    const before = upstream.calls.length
    const answers = await sixtyFour(t, service, () => {
      barrier.open()
    })
    return { answers, calls: upstream.calls.length - before }
  }
  return { service, ask }
}

await t.test('64 who want one station in 32 ways at once', async (t) => {
  t.equal(VARIANTS.length, 32)

  await t.test('cost one call: cold, and again at expiry', async (t) => {
    const { ask } = await crowd(t)
    for (const when of ['cold', 'expired', 'expired again']) {
      const { answers, calls } = await ask(answerStation)
      t.equal(calls, 1, when)
      t.strictSame(statuses(answers), [200], when)
      await pause(TTL_MS + 10)
    }
  })

  await t.test('cost one call while old answers may be served at once', async (t) => {
    const { service, ask } = await crowd(t, { CACHE_STALE_WHILE_REVALIDATE: '1m' })
    await service.get('chargingAvailability=a')
    await pause(TTL_MS + 10)
    const { answers, calls } = await ask(answerStation)
    t.strictSame(statuses(answers), [200])
    t.equal(calls, 1)
    t.ok(answers.every(({ headers }) => /; hit; ttl=-\d+$/.test(String(headers['cache-status']))))
  })

  for (const [name, script, status, code] of [
    ['fails', answerStatus(500), 502, 'UpstreamFailed'],
    ['throttles', answerStatus(429, '', { 'retry-after': '30' }), 429, 'TooManyRequests'],
    ['refuses', answerStatus(403), 502, 'UpstreamRefused'],
  ] as const) {
    await t.test(`cost one call while upstream ${name}, and the next 64 none`, async (t) => {
      const { ask } = await crowd(t)
      const first = await ask(script)
      t.strictSame(statuses(first.answers), [status])
      t.equal(first.calls, 1)
      const next = await ask(script)
      t.strictSame(statuses(next.answers), [status])
      t.equal(next.calls, 0)
      t.ok([...first.answers, ...next.answers].every(({ text }) => text.includes(code)))
    })

    await t.test(`get their old answer while upstream ${name}: one call, and the next 64 none`, async (t) => {
      const { service, ask } = await crowd(t)
      await service.get('chargingAvailability=a')
      await pause(TTL_MS + 10)
      for (const calls of [1, 0]) {
        const outcome = await ask(script)
        t.strictSame(statuses(outcome.answers), [200])
        t.equal(outcome.calls, calls)
        const detail = `; detail=${code}`
        t.ok(outcome.answers.every(({ headers }) => String(headers['cache-status']).endsWith(detail)))
      }
    })
  }
})

await t.test('an upstream that fails for seconds under load', async (t) => {
  const STATIONS = 40
  const service = await startService(t, { env: { ...PATIENT, LOG_LEVEL: 'fatal' } })
  const { upstream, proxy, get } = service
  for (let i = 0; i < STATIONS; i++) await get(`chargingAvailability=known${i}`)
  await pause(TTL_MS + 10)
  upstream.script = answerStatus(500)
  const before = upstream.calls.length

  const client = new Pool(proxy.url, { connections: 8 })
  t.teardown(() => client.destroy())
  const took: number[] = []
  const seen = { known: new Set<number>(), unknown: new Set<number>() }
  let requests = 0
  const startedAt = performance.now()
  const goOn = () => performance.now() - startedAt < 3_000 || requests < 1_500
  const worker = async () => {
    while (goOn()) {
      const name = requests % 8 === 0 ? 'unknown' : 'known'
      const path = `/search/2/chargingAvailability.json?chargingAvailability=${name}${requests++ % STATIONS}`
      const askedAt = performance.now()
      const { statusCode, body } = await client.request({ path, method: 'GET' })
      await body.dump()
      seen[name].add(statusCode)
      if (name === 'known') took.push(performance.now() - askedAt)
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))

  const calls = upstream.calls.length - before
  t.ok(calls < requests / 100, `${calls} calls for ${requests} requests`)
  t.strictSame([...seen.known], [200], 'who has an old answer never sees it')
  t.strictSame(
    [...seen.unknown].toSorted((a, b) => a - b),
    [502, 503],
  )
  const sorted = took.toSorted((a, b) => a - b)
  const [median, p99] = [0.5, 0.99].map((part) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN)
  t.comment(`${requests} requests, ${calls} calls; known stations: median ${median} ms, p99 ${p99} ms`)
  t.ok(Number(median) < 50, `median ${median} ms`)

  upstream.script = answerStation
  await until('it recovers', async () => {
    await pause(200)
    return isNew(await get('chargingAvailability=new'))
  })
})
