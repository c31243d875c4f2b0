import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import t from 'tap'
import { errors } from 'undici'
import { systemClock } from '../../../src/lib/clock.ts'
import type { UpstreamOutcome } from '../../../src/events.ts'
import { upstreamErrorOf } from '../../../src/upstream/tomtom/error.ts'
import { MAX_SHORT_TEXT } from '../../../src/availability/decode.ts'
import { createTomTom } from '../../../src/upstream/tomtom/client.ts'
import type { UpstreamError } from '../../../src/upstream/outcomes.ts'
import type { Script, UpstreamCall } from '../../support/scripted-upstream.ts'
import { answerStation, answerStatus, Barrier, ScriptedUpstream } from '../../support/scripted-upstream.ts'
import { selfSigned } from '../../support/self-signed.ts'
import { referenceStation } from '../../support/stations.ts'
import { hang } from '../../support/scripts.ts'
import { until } from '../../support/until.ts'
import { CALLER } from '../doubles.ts'

const KEY = 'key-0123456789'
const MIB = 1024 * 1024

interface Asking {
  readonly timeoutMs?: number
  readonly maxConnections?: number
  readonly apiKey?: () => string
}

/** TomTom's Source in front of an origin, and the events of its calls. */
function asking(t: Test, origin: string, { timeoutMs = 5_000, maxConnections = 16, apiKey }: Asking = {}) {
  const events: { readonly outcome: UpstreamOutcome; readonly seconds: number }[] = []
  const upstream = createTomTom(
    { baseUrl: origin, timeoutMs, maxConnections, userAgent: 'ev-availability-proxy/0.0.0-test' },
    {
      apiKey: apiKey ?? (() => KEY),
      clock: systemClock,
      observer: { upstreamAnswered: (outcome, seconds) => void events.push({ outcome, seconds }) },
    },
  )
  t.teardown(() => upstream.close())
  const request = (id = 'a', call = CALLER) => upstream.source(id, call)
  /** The error with which a call ends. */
  const fail = async (id = 'a', call = CALLER): Promise<UpstreamError> => {
    try {
      await request(id, call)
    } catch (error) {
      return error as UpstreamError
    }
    throw new Error('it was answered')
  }
  return { ...upstream, events, request, fail }
}

async function scripted(t: Test, script: Script = answerStation, options?: Asking) {
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  return { upstream, ...asking(t, upstream.origin, options) }
}

/** A peer that receives every byte: it gets the connection with the first that was sent to it. */
async function raw(t: Test, answer: (socket: Socket, request: string) => void, options?: Asking) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      answer(socket, bytes.toString('latin1'))
    })
  })
  return { server, ...asking(t, `http://127.0.0.1:${await listening(t, server)}`, options) }
}

async function listening(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

/** 200 with these bytes. */
const send =
  (body: string | Buffer, headers: Record<string, string> = {}): Script =>
  (_call, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers })
    response.end(body)
  }

const GZIP = { 'content-encoding': 'gzip' }
const ANSWER = JSON.stringify(referenceStation('a'))

/** An answer of exactly so many bytes. */
function answerOf(bytes: number): string {
  return ANSWER + ' '.repeat(bytes - ANSWER.length)
}

await t.test('a long answer is handed on in a later turn than it is decoded in', async (t) => {
  let hasTurned = false
  const { parse } = JSON
  t.intercept(JSON, 'parse', {
    value: (...parameters: Parameters<typeof parse>): unknown => {
      hasTurned = false
      setImmediate(() => (hasTurned = true))
      return parse(...parameters)
    },
  })
  const bytes = [-1, 0, 1].map((more) => MAX_SHORT_TEXT + more)
  const seen: boolean[] = []
  for (const length of bytes) {
    const { request } = await scripted(t, send(answerOf(length)))
    await request()
    seen.push(hasTurned)
  }
  t.strictSame(seen, [false, false, true])
})

await t.test('the request', async (t) => {
  await t.test('a request has exactly these headers and this target', async (t) => {
    const requests: string[] = []
    const { request } = await raw(t, (socket, request) => {
      requests.push(request)
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`)
    })
    await request()
    await request()
    const [first = '', second = ''] = requests
    const [line, ...headers] = first.split('\r\n')
    t.equal(line, `GET /search/2/chargingAvailability.json?key=${KEY}&chargingAvailability=a HTTP/1.1`)
    t.match(headers.toSorted(), [
      '',
      '',
      'accept-encoding: gzip',
      'accept: application/json',
      'connection: keep-alive',
      /^host: 127\.0\.0\.1:\d+$/,
      /^tracking-id: [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
      'user-agent: ev-availability-proxy/0.0.0-test',
    ])
    t.equal(headers.length, 8)
    const trackingId = /tracking-id: \S+/
    t.not(trackingId.exec(second)?.[0], trackingId.exec(first)?.[0], 'a Tracking-ID for each call')
    t.equal(second.replace(trackingId, ''), first.replace(trackingId, ''))
  })

  await t.test('a request names exactly the id, whatever characters it has', async (t) => {
    const { request, upstream } = await scripted(t)
    for (const id of [
      '75502858-a491-36fe-7128-23d400153b86',
      '840479002513915',
      'a&key=stolen',
      'a=b',
      'a b+c',
      '100%',
      '%2541',
      'a#b?c/d\\e;f|g:h,i',
      '../../2/search.json',
      '"<script>&amp;',
      'Ladesäule',
      '充电站',
      '🔌⚡',
      'e\u0301',
      '\u00e9',
      '\u2028\ufeff',
      'x'.repeat(128),
    ]) {
      t.strictSame(await request(id), referenceStation(id))
      const { id: asked, url } = upstream.calls.at(-1) as UpstreamCall
      t.equal(asked, id)
      t.equal(url.pathname, '/search/2/chargingAvailability.json')
      t.strictSame([...url.searchParams.keys()], ['key', 'chargingAvailability'])
      t.equal(url.searchParams.get('key'), KEY)
    }
  })

  await t.test('a request has the key in use, whatever characters it has', async (t) => {
    const keys = ['plain', 'a&chargingAvailability=b', '%25+ #', 'last']
    let i = 0
    const { request, upstream } = await scripted(t, answerStation, { apiKey: () => keys[i] as string })
    for (; i < keys.length; i++) await request()
    t.strictSame(
      upstream.calls.map(({ url }) => url.searchParams.getAll('key')),
      keys.map((key) => [key]),
    )
    t.ok(upstream.calls.every(({ id }) => id === 'a'))
  })
})

await t.test('an answer', async (t) => {
  for (const [name, script] of [
    ['plain', send(ANSWER)],
    ['gzip', send(gzipSync(ANSWER), GZIP)],
    ['the coding in capitals', send(gzipSync(ANSWER), { 'content-encoding': 'GZIP' })],
    ['the coding by its old name', send(gzipSync(ANSWER), { 'content-encoding': 'x-gzip' })],
    ['said to be identity', send(ANSWER, { 'content-encoding': 'identity' })],
    ['of a coding without a name', send(ANSWER, { 'content-encoding': '' })],
    ['the coding between blanks', send(gzipSync(ANSWER), { 'content-encoding': ' \t gzip \t ' })],
    ['of a coding of blanks', send(ANSWER, { 'content-encoding': ' \t ' })],
    ['of another content type', send(ANSWER, { 'content-type': 'text/html' })],
    ['with a byte order mark', send(`\ufeff${ANSWER}`)],
    ['of 1 MiB', send(answerOf(MIB))],
    ['of 1 MiB, its length not stated', (_call, response) => void response.end(answerOf(MIB))],
    ['of 1 MiB after decompression', send(gzipSync(answerOf(MIB)), GZIP)],
    [
      'after early hints',
      (call, response) => {
        response.writeEarlyHints({ link: '</a>; rel=preload' })
        answerStation(call, response)
      },
    ],
    [
      'in many pieces',
      async (_call, response) => {
        for (const character of ANSWER) {
          response.write(character)
          await new Promise(setImmediate)
        }
        response.end()
      },
    ],
  ] as readonly (readonly [string, Script])[]) {
    await t.test(`an answer is accepted: ${name}`, async (t) => {
      const { request, events } = await scripted(t, script)
      t.strictSame(await request(), referenceStation('a'))
      t.match(events, [{ outcome: 'ok' }])
      t.ok((events[0]?.seconds ?? 0) > 0 && (events[0]?.seconds ?? 9) < 2)
    })
  }

  await t.test('an answer without connectors is reported as empty', async (t) => {
    const { request, events } = await scripted(t, send('{"connectors":[],"chargingAvailability":"a"}'))
    t.strictSame((await request()).connectors, [])
    t.match(events, [{ outcome: 'empty' }])
  })

  for (const [name, script, reason] of [
    ['one byte more than 1 MiB', send(answerOf(MIB + 1)), /larger/],
    [
      'one byte more, its length not stated',
      (_call, response) => void response.end(answerOf(MIB + 1)),
      /larger/,
    ],
    ['one byte more after decompression', send(gzipSync(answerOf(MIB + 1)), GZIP), /decompress/],
    ['1 MiB that is more on the wire', send(gzipSync(answerOf(MIB), { level: 0 }), GZIP), /larger/],
    ['a bomb', send(gzipSync(Buffer.alloc(20 * MIB)), GZIP), /decompress/],
    ['said to be gzip, and none', send(ANSWER, GZIP), /decompress/],
    ['gzip that breaks off', send(gzipSync(ANSWER).subarray(0, -12), GZIP), /decompress/],
    ['gzip twice', send(gzipSync(gzipSync(ANSWER)), { 'content-encoding': 'gzip, gzip' }), /not requested/],
    ['br', send(ANSWER, { 'content-encoding': 'br' }), /not requested/],
    ['not UTF-8', send(Buffer.from(ANSWER.replace('Type2', 'Größe'), 'latin1')), /UTF-8/],
    ['UTF-16', send(Buffer.from(`\ufeff${ANSWER}`, 'utf16le')), /UTF-8/],
    ['nothing', send(''), /JSON/],
    ['half of it, as if that were all', send(ANSWER.slice(0, -10)), /JSON/],
    ['HTML', send('<h1>Developer Inactive</h1>'), /JSON/],
    ['an error with 200', send('{"detailedError":{"code":"Forbidden"}}'), /id/],
    ['for another id', send(JSON.stringify(referenceStation('b'))), /id/],
    ['of another shape', send('{"chargingAvailability":"a","connectors":{}}'), /connectors/],
    ['that repeats the key', send(ANSWER.replace('Type2', KEY)), /key/],
    ['204', answerStatus(204), /204/],
    ['206', answerStatus(206, ANSWER), /206/],
    ['304', answerStatus(304), /304/],
  ] as readonly (readonly [string, Script, RegExp])[]) {
    await t.test(`an invalid answer is not retried: ${name}`, async (t) => {
      const { fail, events, inFlight } = await scripted(t, script)
      t.match(await fail(), { code: 'UpstreamFailed', outcome: 'invalid', isTransient: false, reason })
      t.match(events, [{ outcome: 'invalid' }])
      t.equal(inFlight(), 0)
    })
  }

  await t.test('a key that is too short is not looked for in answers', async (t) => {
    const { request } = await scripted(t, answerStation, { apiKey: () => 'Type2' })
    t.equal((await request()).connectors.length, 1)
  })
})

const breaksOff: Script = (_call, response) => {
  response.writeHead(429, { 'retry-after': '9', 'content-length': '100' })
  response.write('<h1>', () => response.destroy())
}

const FORBIDDEN =
  '{"detailedError":{"code":"Forbidden","message":"You are not allowed to access this endpoint"}}'
const NO_FUNDS = '{"detailedError":{"code":"InsufficientFunds","message":"…"}}'
const REFERER = '{"detailedError":{"code":"InvalidReferer","message":"…"}}'

await t.test('a status', async (t) => {
  for (const [status, body, outcome, code, rejection, isTransient] of [
    [400, '{"error":"…"}', 'bad_request', 'InvalidParameter', 'unclear', false],
    [404, 'Not Found', 'not_found', 'NotFound', 'unclear', false],
    [401, '', 'refused', 'UpstreamRefused', 'unclear', false],
    [403, FORBIDDEN, 'refused', 'UpstreamRefused', 'unclear', false],
    [403, NO_FUNDS, 'refused', 'UpstreamRefused', 'over_quota', false],
    [403, REFERER, 'refused', 'UpstreamRefused', 'referer', false],
    [403, '<h1>Developer Inactive</h1>', 'refused', 'UpstreamRefused', 'bad_key', false],
    [403, '<h1>Developer Over Qps</h1>', 'refused', 'UpstreamRefused', 'throttled', false],
    [403, '<h1>Developer Over Rate</h1>', 'refused', 'UpstreamRefused', 'over_quota', false],
    [403, '', 'refused', 'UpstreamRefused', 'unclear', false],
    [429, '', 'throttled', 'TooManyRequests', 'throttled', false],
    [429, NO_FUNDS, 'throttled', 'TooManyRequests', 'throttled', false],
    [500, '<html>', 'server_error', 'UpstreamFailed', 'unclear', false],
    [502, '', 'server_error', 'UpstreamFailed', 'unclear', true],
    [503, 'no healthy upstream', 'server_error', 'UpstreamFailed', 'unclear', true],
    [504, '', 'server_error', 'UpstreamFailed', 'unclear', true],
    [596, '<h1>596 Service Not Found</h1>', 'server_error', 'UpstreamFailed', 'unclear', false],
    [999, '', 'server_error', 'UpstreamFailed', 'unclear', false],
    [402, '', 'invalid', 'UpstreamFailed', 'unclear', false],
    [410, '', 'invalid', 'UpstreamFailed', 'unclear', false],
    [418, '', 'invalid', 'UpstreamFailed', 'unclear', false],
  ] as const) {
    await t.test(`a ${status} ${body.slice(0, 50)} has the outcome ${outcome} (${rejection})`, async (t) => {
      const { fail, events, upstream } = await scripted(t, answerStatus(status, body))
      const error = await fail()
      t.match(error, { outcome, code, rejection, isTransient, upstreamStatus: status, sent: true })
      t.equal(error.retryAfterMs, undefined)
      t.match(events, [{ outcome }])
      t.equal(upstream.calls.length, 1)
      for (const text of [error.message, error.detail])
        t.notMatch(text, /Developer|Forbidden|Funds|html|\d{3}/)
    })
  }

  await t.test('a redirect is not followed and is not an answer', async (t) => {
    for (const status of [301, 302, 303, 307, 308]) {
      const location = '/search/2/chargingAvailability.json?chargingAvailability=a'
      const { fail, upstream } = await scripted(t, (call, response) => {
        if (call.number > 1) answerStation(call, response)
        else response.writeHead(status, { location }).end()
      })
      t.match(await fail(), { outcome: 'invalid', code: 'UpstreamFailed', upstreamStatus: status })
      t.equal(upstream.calls.length, 1, String(status))
    }
  })

  await t.test('a rejection has its Retry-After in ms, clamped, in both forms', async (t) => {
    const inTenSeconds = new Date(Date.now() + 10_000).toUTCString()
    for (const [header, least, most] of [
      ['7', 7_000, 7_000],
      ['0', 1_000, 1_000],
      ['86400', 300_000, 300_000],
      [inTenSeconds, 7_000, 10_000],
    ] as const) {
      for (const status of [429, 403, 401, 503]) {
        const { fail } = await scripted(t, answerStatus(status, '', { 'retry-after': header }))
        const ms = (await fail()).retryAfterMs ?? Number.NaN
        t.ok(ms >= least && ms <= most, `${status}, ${header}: ${ms}`)
      }
    }
    const { fail } = await scripted(t, answerStatus(429, '', { 'retry-after': 'soon' }))
    t.equal((await fail()).retryAfterMs, undefined)
  })

  await t.test('a rejection counts even if its body cannot be read', async (t) => {
    for (const script of [
      answerStatus(429, answerOf(2 * MIB), { 'retry-after': '9' }),
      answerStatus(429, 'no gzip', { ...GZIP, 'retry-after': '9' }),
      answerStatus(429, gzipSync(Buffer.alloc(10 * MIB)).toString('latin1'), { ...GZIP, 'retry-after': '9' }),
      breaksOff,
    ]) {
      const { fail } = await scripted(t, script)
      t.match(await fail(), { outcome: 'throttled', retryAfterMs: 9_000 })
    }
  })

  await t.test(
    'an error is reported without waiting for its body, and the connection is freed',
    async (t) => {
      let drips = 0
      const { fail, request, inFlight } = await scripted(
        t,
        (call, response) => {
          if (call.number > 1) return answerStation(call, response)
          response.writeHead(500)
          const timer = setInterval(() => response.write(`${drips++}`), 5)
          response.on('close', () => clearInterval(timer))
        },
        { maxConnections: 1, timeoutMs: 1_000 },
      )
      const startedAt = performance.now()
      t.match(await fail(), { outcome: 'server_error' })
      t.ok(performance.now() - startedAt < 900)
      t.equal(inFlight(), 0)
      const isFree = async () => (await request().catch(() => null)) !== null
      await until('the connection is free', isFree, 5_000)
    },
  )

  await t.test('a large error body leaves its connection to the next call', async (t) => {
    const { fail } = await scripted(t, answerStatus(500, answerOf(MIB - 1)), { maxConnections: 1 })
    const errors = await Promise.all([fail(), fail(), fail()])
    t.match(
      errors,
      Array.from({ length: 3 }, () => ({ outcome: 'server_error' })),
    )
  })
})

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'

await t.test('a connection', async (t) => {
  const broken: readonly (readonly [string, (socket: Socket) => void])[] = [
    ['is reset before it is answered', (socket) => socket.resetAndDestroy()],
    ['is closed before it is answered', (socket) => socket.end()],
    ['breaks off in the head', (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-ty')],
    ['breaks off in the body', (socket) => socket.end(`${HEAD}content-length: 9999\r\n\r\n${ANSWER}`)],
    [
      'is reset in the body',
      (socket) =>
        void socket.write(`${HEAD}content-length: 9999\r\n\r\n${ANSWER}`, () => socket.resetAndDestroy()),
    ],
    [
      'says 100 Continue unasked, which undici takes for an error',
      (socket) =>
        void socket.write(
          `HTTP/1.1 100 Continue\r\n\r\n${HEAD}content-length: ${ANSWER.length}\r\n\r\n${ANSWER}`,
        ),
    ],
    [
      'breaks off between the chunks',
      (socket) => socket.end(`${HEAD}transfer-encoding: chunked\r\n\r\n${chunk(ANSWER)}`),
    ],
  ]
  for (const [name, misbehave] of broken) {
    await t.test(`a connection that ${name} is a transient UpstreamFailed`, async (t) => {
      const { fail, events, inFlight } = await raw(t, misbehave)
      const error = await fail()
      t.match(error, {
        outcome: 'network',
        code: 'UpstreamFailed',
        isTransient: true,
        sent: true,
        reason: /broke/,
      })
      t.match(events, [{ outcome: 'network' }])
      t.equal(inFlight(), 0)
    })
  }

  for (const [name, misbehave] of [
    [
      'a chunk that is none',
      (socket) => void socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\nxyz\r\n`),
    ],
    ['no HTTP', (socket) => void socket.write('SSH-2.0-OpenSSH_9.6\r\n')],
    ['a length that is none', (socket) => void socket.write(`${HEAD}content-length: abc\r\n\r\n`)],
    ['a head of 40 KB', (socket) => void socket.write(`${HEAD}x-a: ${'a'.repeat(40_000)}\r\n\r\n`)],
  ] as readonly (readonly [string, (socket: Socket) => void])[]) {
    await t.test(`a response with ${name} is invalid and not retried`, async (t) => {
      const { fail, events } = await raw(t, misbehave)
      t.match(await fail(), { outcome: 'invalid', code: 'UpstreamFailed', isTransient: false, sent: true })
      t.match(events, [{ outcome: 'invalid' }])
    })
  }

  await t.test('a connection is used again', async (t) => {
    const { request, upstream } = await scripted(t)
    const sockets = new Set<number | undefined>()
    upstream.script = (call, response, request) => {
      sockets.add(request.socket.remotePort)
      answerStation(call, response)
    }
    for (let i = 0; i < 10; i++) await request()
    t.ok(sockets.size <= 2, `${sockets.size} for ten calls`)
  })

  await t.test('no more than UPSTREAM_MAX_CONNECTIONS connections are made', async (t) => {
    const barrier = new Barrier()
    const sockets = new Set<number | undefined>()
    const { request, upstream, inFlight } = await scripted(
      t,
      async (call, response, request) => {
        sockets.add(request.socket.remotePort)
        await barrier.passed
        answerStation(call, response)
      },
      { maxConnections: 3 },
    )
    const calls = Array.from({ length: 9 }, (_, i) => request(`${i}`))
    await upstream.arrived(3)
    t.equal(inFlight(), 9, 'those that wait for a connection are under way')
    barrier.open()
    await Promise.all(calls)
    t.equal(sockets.size, 3)
    t.equal(inFlight(), 0)
  })

  await t.test('a call without a connection was not sent', async (t) => {
    const gone = await ScriptedUpstream.start()
    const { origin } = gone
    await gone.stop()
    for (const [name, where] of [
      ['nothing listens', origin],
      ['no such name', 'http://no-such-host.invalid'],
    ] as const) {
      const { fail, events } = asking(t, where)
      const error = await fail()
      t.match(error, { outcome: 'network', code: 'UpstreamFailed', sent: false, isTransient: false }, name)
      t.match(events, [{ outcome: 'network' }])
    }
  })

  await t.test('a certificate that is not trusted is rejected, and nothing is sent', async (t) => {
    let requests = 0
    const server = createTlsServer(selfSigned(), (_request, response) => {
      requests++
      response.end(ANSWER)
    })
    const { fail } = asking(t, `https://localhost:${await listening(t, server)}`)
    t.match(await fail(), { outcome: 'network', code: 'UpstreamFailed', sent: false, reason: /SELF_SIGNED/ })
    t.equal(requests, 0)
  })

  await t.test('a call that was not connected in time was not sent', async (t) => {
    t.match(upstreamErrorOf(new errors.ConnectTimeoutError()), {
      outcome: 'timeout',
      code: 'UpstreamTimeout',
      sent: false,
      isTransient: false,
    })
  })
})

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`
}

const drip = (bytes: string, everyMs: number) => (socket: Socket) => {
  let sent = 0
  const timer = setInterval(() => socket.write(bytes[sent++] ?? ''), everyMs)
  socket.on('close', () => clearInterval(timer))
}

await t.test('the deadline', async (t) => {
  for (const [name, misbehave] of [
    ['hang', () => {}],
    ['a head in drips', drip(`${HEAD}x-a: ${'a'.repeat(999)}`, 10)],
    ['a head and then hang', (socket) => void socket.write(`${HEAD}content-length: 10\r\n\r\n`)],
    [
      'a body in drips',
      (socket) => {
        socket.write(`${HEAD}content-length: ${ANSWER.length}\r\n\r\n`)
        drip(ANSWER, 10)(socket)
      },
    ],
    ['an error response in drips', (socket) => void socket.write('HTTP/1.1 500 No\r\n')],
  ] as readonly (readonly [string, (socket: Socket) => void])[]) {
    await t.test(`the deadline ends a call: ${name}`, async (t) => {
      const { fail, events, inFlight } = await raw(t, misbehave, { timeoutMs: 250 })
      const startedAt = performance.now()
      t.match(await fail(), { outcome: 'timeout', code: 'UpstreamTimeout', sent: true, isTransient: false })
      const took = performance.now() - startedAt
      t.ok(took > 240 && took < 1_500, `${took} ms`)
      t.match(events, [{ outcome: 'timeout' }])
      t.equal(inFlight(), 0)
    })
  }

  await t.test('the deadline ends a call that waits for a connection, which was not sent', async (t) => {
    const { fail, upstream, inFlight } = await scripted(t, hang, { timeoutMs: 300, maxConnections: 1 })
    const holder = fail('a', { ...CALLER, timeoutMs: 2_500 })
    await upstream.arrived(1)
    const startedAt = performance.now()
    for (const end of await Promise.all([fail('b'), fail('c')])) {
      t.match(end, { outcome: 'timeout', code: 'UpstreamTimeout', sent: false, isTransient: false })
    }
    t.ok(performance.now() - startedAt < 2_000, 'while the connection is still in use')
    t.match(await holder, { outcome: 'timeout', sent: true })
    t.equal(inFlight(), 0)
    t.equal(upstream.calls.length, 1)
  })

  await t.test('the deadline ends a call whose connection is not made', async (t) => {
    const server = createServer((socket) => socket.on('error', () => {})) // takes it, and never shakes hands
    const port = await listening(t, server)
    const { fail } = asking(t, `https://localhost:${port}`, { timeoutMs: 250 })
    const startedAt = performance.now()
    t.match(await fail(), { outcome: 'timeout', code: 'UpstreamTimeout', sent: false })
    const took = performance.now() - startedAt
    t.ok(took > 240 && took < 950, `${took} ms: by itself undici gives up after a second`)
  })

  await t.test('the body of a rejection is not awaited until the deadline', async (t) => {
    const { fail } = await scripted(
      t,
      (_call, response) => {
        response.writeHead(429, { 'retry-after': '30' }).write('{')
      },
      { timeoutMs: 5_000 },
    )
    const startedAt = performance.now()
    t.match(await fail(), { outcome: 'throttled', retryAfterMs: 30_000 })
    t.ok(performance.now() - startedAt < 2_000)
  })

  await t.test('the deadline is shorter for a call with less time', async (t) => {
    const { fail } = await raw(t, () => {}, { timeoutMs: 5_000 })
    const startedAt = performance.now()
    t.match(await fail('a', { ...CALLER, timeoutMs: 123.456 }), { outcome: 'timeout' })
    const took = performance.now() - startedAt
    t.ok(took > 115 && took < 1_500, `${took} ms`)
  })

  await t.test('the shorter deadline includes the wait for a connection', async (t) => {
    const { request, fail } = await raw(t, () => {}, { timeoutMs: 250, maxConnections: 1 })
    request().catch(() => {})
    const startedAt = performance.now()
    t.match(await fail(), { outcome: 'timeout' })
    t.ok(performance.now() - startedAt < 1_500)
  })
})

await t.test('a response that is too large is cut off with its connection', async (t) => {
  let closed = false
  const { fail } = await scripted(t, (_call, response) => {
    const piece = Buffer.alloc(64 * 1024, ' ')
    const pour = () => {
      while (response.write(piece));
    }
    response.on('drain', pour)
    response.on('close', () => (closed = true))
    pour()
  })
  t.match(await fail(), { outcome: 'invalid', code: 'UpstreamFailed', reason: /larger/ })
  await until('upstream sees the end', () => closed, 2_000)
})

await t.test('close', async (t) => {
  await t.test('close ends calls in flight and all connections', async (t) => {
    const { fail, upstream, inFlight, close } = await scripted(t, () => {})
    const call = fail()
    await upstream.arrived(1)
    t.equal(inFlight(), 1)
    await close()
    t.match(await call, { code: 'UpstreamFailed', reason: /was cut off/, sent: true, isTransient: false })
    t.equal(inFlight(), 0)
    t.match(await fail(), { code: 'UpstreamFailed', sent: false }, 'and nothing is sent afterwards')
    t.equal(upstream.calls.length, 1)
  })
})
