import { writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import type { AdmissionOptions } from '../../src/http/admission.ts'
import type { WireResponse } from '../support/request.ts'
import { pathFor } from '../support/request.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import { answerStatus, Barrier } from '../support/scripted-upstream.ts'
import { waitFor, hang } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { createTestServer } from './public-server.ts'

const WEB = 'web-key-0123456789abcdef'
const IOS = 'ios-key-0123456789abcdef'
const KEYS = `web=${WEB},ios=${IOS}`

/** What is wrong with a response that should be 403 Forbidden. */
const forbiddenProblems = (response: WireResponse, format: 'json' | 'xml' = 'json') =>
  errorResponseProblems(response, { status: 403, code: 'Forbidden', format })

await t.test('client keys', async (t) => {
  const { get, request, proxy, upstream, requestAdmin } = await startService(t, {
    env: { CLIENT_KEYS: KEYS, ACCESS_LOG: 'true' },
  })

  await t.test('a request with a valid key is answered, wherever the key is in the query', async (t) => {
    const queries = [
      `chargingAvailability=a&key=${WEB}`,
      `key=${IOS}&chargingAvailability=a`,
      `chargingAvailability=a&k%65y=${WEB.replace('w', '%77')}`,
    ]
    const statuses = []
    for (const ext of ['json', 'xml'])
      for (const query of queries) statuses.push((await get(query, { ext })).status)
    t.strictSame(statuses, [200, 200, 200, 200, 200, 200])
  })

  await t.test('a request without a valid key is 403 before anything else is validated', async (t) => {
    const calls = upstream.calls.length
    const bodies = new Set<string>()
    const found = []
    for (const query of [
      'chargingAvailability=b',
      'chargingAvailability=b&key=',
      'chargingAvailability=b&key=unknown',
      `chargingAvailability=b&key=${WEB}x`,
      `chargingAvailability=b&key=${WEB}&key=${WEB}`,
      `chargingAvailability=b&key=${WEB}&key=`,
      `chargingAvailability=b&KEY=${WEB}`,
      `chargingAvailability=b&key=${WEB.toUpperCase()}`,
      'minPowerKW=x',
      'chargingAvailability=%ff',
      '',
    ]) {
      const response = await get(query)
      bodies.add(response.text)
      found.push(
        ...forbiddenProblems(response),
        ...forbiddenProblems(await get(query, { ext: 'xml' }), 'xml'),
      )
    }
    t.strictSame(found, [])
    t.equal(bodies.size, 1, 'the body does not depend on what is wrong with the key')
    t.strictSame(
      forbiddenProblems(await request('/search/2/chargingAvailability.json')),
      [],
      'no query at all',
    )
    t.strictSame(
      forbiddenProblems(await get('chargingAvailability=b', { ext: 'yaml' })),
      [],
      'a wrong format',
    )
    t.equal((await get(`key=${WEB}`)).status, 400, 'with a valid key the parameters are validated')
    t.equal(upstream.calls.length, calls, 'no call is made')
  })

  await t.test('a 403 has CORS headers and the Tracking-ID of its log line', async (t) => {
    // Another service than above, because a cause is logged ten times a second at most.
    const { get, proxy } = await startService(t, { env: { CLIENT_KEYS: `web=${WEB}` } })
    const headers = { origin: 'https://page.example', 'tracking-id': 'find-me' }
    const response = await get('chargingAvailability=a', { headers })
    t.match(response.headers, { 'access-control-allow-origin': '*', 'tracking-id': 'find-me' })
    const line = proxy.logs.find(({ trackingId, code }) => trackingId === 'find-me' && code !== undefined)
    t.match(line, { level: 'info', code: 'Forbidden', status: 403, reason: 'no key was given' })
  })

  await t.test('preflights and service routes need no key', async (t) => {
    const headers = { origin: 'https://page.example', 'access-control-request-method': 'GET' }
    t.equal((await get('chargingAvailability=a', { method: 'OPTIONS', headers })).status, 204)
    t.equal((await request('/healthz')).status, 200)
    t.equal((await request('/openapi.yaml')).status, 200)
    t.equal((await request('/nothing')).status, 404)
    t.equal((await get('chargingAvailability=a', { method: 'POST' })).status, 405)
  })

  await t.test('a request with a body is 400 and closes its connection, with or without a key', async (t) => {
    const withKey = await get(`chargingAvailability=a&key=${WEB}`, { body: 'x' })
    t.equal(withKey.status, 400)
    t.equal(withKey.headers.connection, 'close')
    t.equal((await get('chargingAvailability=a', { body: 'x' })).status, 400)
  })

  await t.test('log lines have the name of the client and never its key', async (t) => {
    await get(`chargingAvailability=a&key=${IOS}`, { headers: { 'tracking-id': 'by-ios' } })
    await get(`key=${IOS}`, { headers: { 'tracking-id': 'wrong-by-ios' } })
    const lines = proxy.logs.filter(({ trackingId }) => String(trackingId).endsWith('by-ios'))
    t.strictSame(
      lines.map(({ status, code, client }) => [status, code, client]),
      [
        [200, undefined, 'ios'],
        [400, 'MissingParameter', 'ios'],
        [400, undefined, 'ios'],
      ],
    )
    t.notMatch(proxy.rawLogs.join(''), /-key-0123456789/)
  })

  await t.test('requests are counted by client name, and those without a valid key as none', async (t) => {
    const count = (client: string) => proxy.metric(`evproxy_client_requests_total{client="${client}"}`)
    const before = [await count('web'), await count('ios'), await count('none')]
    await get(`chargingAvailability=a&key=${WEB}`)
    await get(`key=${WEB}`)
    await get('chargingAvailability=a&key=unknown')
    t.strictSame(
      [await count('web'), await count('ios'), await count('none')],
      [(before[0] ?? 0) + 2, before[1], (before[2] ?? 0) + 1],
    )
    const { text } = await requestAdmin('/metrics')
    t.equal(text.match(/^evproxy_client_requests_total\{/gm)?.length, 3, 'there is no other label value')
    t.notMatch(text, 'evproxy_client_limited_total', 'limits that are off have no metric')
  })
})

await t.test('a changed file of client keys takes effect while the service runs', async (t) => {
  const RETIRED = 'o'.repeat(16)
  const file = `${t.testdir({ clients: `web=${WEB}\nold=${RETIRED}\n` })}/clients`
  const { get, proxy, requestAdmin } = await startService(t, { env: { CLIENT_KEYS_FILE: file } })
  t.equal((await get(`chargingAvailability=a&key=${RETIRED}`)).status, 200)
  const before = await requestAdmin('/metrics')
  t.match(before.text, 'evproxy_client_requests_total{client="web"} 0', 'a client is a label from the start')
  t.match(before.text, 'evproxy_client_requests_total{client="none"} 0')
  writeFileSync(file, `web=${WEB}\nios=${IOS}\n`)
  await until(
    'the new key is valid',
    async () => (await get(`chargingAvailability=a&key=${IOS}`)).status === 200,
  )
  t.equal((await get(`chargingAvailability=a&key=${RETIRED}`)).status, 403)
  const after = await requestAdmin('/metrics')
  t.match(after.text, /evproxy_client_requests_total\{client="ios"\} [1-9]/)
  t.notMatch(after.text, 'client="old"', 'a removed client is no label')
  t.strictSame(
    proxy.logs.filter(({ clients }) => clients !== undefined).map(({ level, clients }) => [level, clients]),
    [['info', ['web', 'ios']]],
  )
})

interface RequestOptions {
  readonly query?: string
  readonly from?: string
  readonly forwarded?: string
}

/** The public server in front of a cache with every station, on a stopped clock. */
async function startServer(
  t: Test,
  options: Partial<AdmissionOptions> & { trustedProxies?: readonly string[] },
  clients: { nameOf: (key: string) => string | null } | null = null,
) {
  const limited: string[] = []
  const listener = { clientLimited: (limit: string) => void limited.push(limit) }
  const { app, clock } = await createTestServer(t, options, { clients, listener })
  const request = ({ query = '', from = '192.0.2.1', forwarded }: RequestOptions = {}) =>
    app.inject({
      url: pathFor(`chargingAvailability=a&${query}`),
      remoteAddress: from,
      headers: { host: 'x', ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }) },
    })
  const status = async (asked?: RequestOptions) => (await request(asked)).statusCode
  return { app, clock, limited, request, status }
}

await t.test('the time for the headers and for the whole request is limited by Node', async (t) => {
  const { server } = (await startServer(t, {})).app
  t.equal(server.headersTimeout, 10_000)
  t.equal(server.requestTimeout, 30_000)
})

await t.test('rate limit of a client', async (t) => {
  await t.test('requests over the limit are 429 until a second after the first one', async (t) => {
    const { clock, limited, request, status } = await startServer(t, { perSecond: 3 })
    const statuses = []
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) statuses.push(await status())
      await clock.advance(999)
      statuses.push(await status())
      await clock.advance(1)
    }
    const round = [200, 200, 200, 429, 429]
    t.strictSame(statuses, [...round, ...round, ...round])
    t.strictSame(
      limited,
      Array.from({ length: 6 }, () => 'rate'),
    )

    for (let i = 0; i < 3; i++) await status()
    const { statusCode, headers, body } = await request()
    t.strictSame(
      errorResponseProblems(
        { status: statusCode, headers: headers as Record<string, string>, text: body },
        { status: 429, code: 'TooManyRequests' },
      ),
      [],
    )
    t.equal(headers['retry-after'], '1')
    t.notOk(Object.keys(headers).some((name) => name.startsWith('x-ratelimit')))
  })

  await t.test('a jump of the wall clock does not affect the limit', async (t) => {
    const { clock, status } = await startServer(t, { perSecond: 1 })
    t.strictSame([await status(), await status()], [200, 429])
    clock.setWall(clock.wall() - 3_600_000)
    await clock.advance(1_000)
    t.equal(await status(), 200)
  })

  await t.test('each address has its own limit, and an IPv6 network of 64 bits is one address', async (t) => {
    const { status } = await startServer(t, { perSecond: 1 })
    const expected: [from: string, status: number][] = [
      ['192.0.2.1', 200],
      ['192.0.2.1', 429],
      ['192.0.2.2', 200],
      ['::ffff:192.0.2.2', 429],
      ['2001:db8:0:1::1', 200],
      ['2001:db8:0:1:ffff::2', 429],
      ['2001:db8:0:2::1', 200],
    ]
    const received: typeof expected = []
    for (const [from] of expected) received.push([from, await status({ from })])
    t.strictSame(received, expected)
  })

  await t.test('with client keys each name has its own limit, from any address', async (t) => {
    const nameOf = (key: string) => (['web', 'ios'].includes(key) ? key : null)
    const { status } = await startServer(t, { perSecond: 1 }, { nameOf })
    t.equal(await status({ query: 'key=web' }), 200)
    t.equal(await status({ query: 'key=web', from: '192.0.2.2' }), 429)
    t.equal(await status({ query: 'key=ios' }), 200)
    const unknown = []
    for (let i = 0; i < 3; i++) unknown.push(await status({ query: 'key=nobody' }))
    t.strictSame(unknown, [403, 403, 403], 'the key is checked before the limit')
  })

  await t.test('invalid requests of the proxied route count, and other routes do not', async (t) => {
    const { app, status } = await startServer(t, { perSecond: 1 })
    const health = async () => (await app.inject({ url: '/healthz', headers: { host: 'x' } })).statusCode
    t.strictSame([await health(), await health(), await health()], [200, 200, 200])
    t.equal(await status({ query: 'minPowerKW=x' }), 400)
    t.equal(await status({ query: 'minPowerKW=x' }), 429)
  })

  await t.test('the ten thousand most recent addresses are remembered', async (t) => {
    const MAX_ADDRESSES = 10_000
    const { status } = await startServer(t, { perSecond: 2 })
    const from = '192.0.2.1'
    const others = async (network: number, count: number) => {
      for (let i = 0; i < count; i++) await status({ from: `10.${network}.${i >> 8}.${i & 255}` })
    }
    t.strictSame([await status({ from }), await status({ from })], [200, 200])
    await others(1, MAX_ADDRESSES - 1)
    t.equal(await status({ from }), 429, 'still known among ten thousand')
    await others(2, MAX_ADDRESSES)
    t.equal(await status({ from }), 200, 'forgotten after ten thousand others')
  })
})

await t.test('X-Forwarded-For', async (t) => {
  /** Whether two requests count for the same client. */
  const areOne = async (
    trustedProxies: readonly string[],
    first: RequestOptions,
    second: RequestOptions,
  ): Promise<boolean> => {
    const { status } = await startServer(t, { perSecond: 1, trustedProxies })
    return (await status(first), await status(second)) === 429
  }
  const from = '10.0.0.1'
  const network = ['10.0.0.0/8']

  await t.test('the header is ignored without trusted proxies', async (t) => {
    t.ok(await areOne([], { forwarded: '192.0.2.1' }, { forwarded: '192.0.2.2' }))
  })

  await t.test('the header is ignored from an address that is not trusted', async (t) => {
    t.ok(await areOne([from], { forwarded: '192.0.2.1' }, { forwarded: '192.0.2.2' }))
  })

  await t.test('the header of a trusted address or network is used', async (t) => {
    const [first, second] = [
      { from, forwarded: '192.0.2.1' },
      { from, forwarded: '192.0.2.2' },
    ]
    t.notOk(await areOne([from], first, second))
    t.notOk(await areOne(network, first, second))
  })

  await t.test('a port behind an address is ignored, also behind that of a trusted proxy', async (t) => {
    const pairs = [
      ['203.0.113.7:51234', '203.0.113.7:51235'],
      ['[2001:db8::1]:443', '2001:db8::1'],
      ['203.0.113.7:51234, 10.0.0.9:4711', '203.0.113.7'],
    ] as const
    const same = pairs.map(([one, other]) =>
      areOne(network, { from, forwarded: one }, { from, forwarded: other }),
    )
    t.strictSame(await Promise.all(same), [true, true, true])
    t.notOk(
      await areOne(
        network,
        { from, forwarded: '203.0.113.7:51234' },
        { from, forwarded: '203.0.113.8:51234' },
      ),
    )
  })

  await t.test('the header is read from the right up to the first untrusted address', async (t) => {
    const spoofed = await areOne(
      network,
      { from, forwarded: '198.51.100.1, 192.0.2.1' },
      { from, forwarded: '198.51.100.2, 192.0.2.1' },
    )
    t.ok(spoofed, 'addresses that the client added itself are ignored')
  })

  await t.test('a chain of trusted proxies is followed', async (t) => {
    const chained = await areOne(
      network,
      { from, forwarded: '192.0.2.1, 10.0.0.2' },
      { from, forwarded: '192.0.2.2, 10.0.0.2' },
    )
    t.notOk(chained)
  })

  await t.test('a header without an address counts for the proxy', async (t) => {
    t.ok(await areOne(network, { from, forwarded: 'x'.repeat(8_000) }, { from, forwarded: 'unknown' }))
  })
})

await t.test('concurrency limit of a client', async (t) => {
  await t.test('requests over the limit that would wait for upstream are 429', async (t) => {
    const gate = new Barrier()
    const { get, upstream, proxy } = await startService(t, {
      script: waitFor(gate),
      env: { CLIENT_MAX_IN_FLIGHT: '2', CLIENT_KEYS: KEYS },
    })
    const first = get(`chargingAvailability=a&key=${WEB}`)
    const second = get(`chargingAvailability=b&key=${WEB}`)
    await upstream.arrived(2)
    const denied = await get(`chargingAvailability=c&key=${WEB}`, { ext: 'xml' })
    t.strictSame(errorResponseProblems(denied, { status: 429, code: 'TooManyRequests', format: 'xml' }), [])
    t.equal(
      (await get(`chargingAvailability=a&key=${WEB}`)).status,
      429,
      'joining a call in flight counts as waiting',
    )
    t.equal(upstream.calls.length, 2, 'no call is made for a denied request')
    const other = get(`chargingAvailability=c&key=${IOS}`)
    await upstream.arrived(3)
    gate.open()
    t.strictSame(
      (await Promise.all([first, second, other])).map(({ status }) => status),
      [200, 200, 200],
    )
    t.equal((await get(`chargingAvailability=d&key=${WEB}`)).status, 200, 'the slots are free again')
    t.equal(await proxy.metric('evproxy_client_limited_total{limit="in_flight"}'), 2)
    t.equal(await proxy.metric('evproxy_client_limited_total{limit="rate"}'), 0)
    const lookups = await Promise.all(
      ['hit', 'stale', 'stale_error', 'coalesced', 'miss', 'error'].map((result) =>
        proxy.metric(`evproxy_cache_requests_total{result="${result}"}`),
      ),
    )
    t.strictSame(lookups, [0, 0, 0, 0, 4, 2], 'each lookup counts once')
  })

  await t.test('a cached answer is served over the limit', async (t) => {
    const { get, upstream } = await startService(t, { env: { CLIENT_MAX_IN_FLIGHT: '1', CACHE_TTL: '24h' } })
    await get('chargingAvailability=cached')
    upstream.script = hang
    void get('chargingAvailability=slow').catch(() => {})
    await upstream.arrived(2)
    t.equal((await get('chargingAvailability=cached')).status, 200)
  })

  await t.test('a stale answer is served instead of a 429', async (t) => {
    const STALE = {
      CACHE_TTL: '1ms',
      CACHE_STALE_WHILE_REVALIDATE: '0',
      UPSTREAM_TIMEOUT: '299s',
      UPSTREAM_SOFT_TIMEOUT: '298s',
    }
    const { get, upstream } = await startService(t, { env: { CLIENT_MAX_IN_FLIGHT: '1', ...STALE } })
    await get('chargingAvailability=cached')
    upstream.script = hang
    void get('chargingAvailability=slow').catch(() => {})
    await upstream.arrived(2)
    const stale = await get('chargingAvailability=cached')
    t.equal(stale.status, 200)
    t.match(stale.headers['cache-status'], /detail=TooManyRequests/)
    t.equal(upstream.calls.length, 2)
  })

  await t.test('a request of a client that disconnects counts until its call has ended', async (t) => {
    const gate = new Barrier()
    const { get, upstream } = await startService(t, {
      script: waitFor(gate),
      env: { CLIENT_MAX_IN_FLIGHT: '1', UPSTREAM_TIMEOUT: '60s' },
    })
    const client = new AbortController()
    const disconnected = get('chargingAvailability=a', { signal: client.signal })
    await upstream.arrived(1)
    client.abort()
    await t.rejects(disconnected)
    const statuses = []
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20)) // until the server has noticed the disconnect
      statuses.push((await get(`chargingAvailability=b${i}`)).status)
    }
    t.strictSame(statuses, [429, 429, 429, 429, 429])
    t.equal(upstream.calls.length, 1)
    gate.open()
    await until('its slot is free', async () => (await get('chargingAvailability=c')).status === 200)
  })

  await t.test('a failed call frees its slot', async (t) => {
    const { get } = await startService(t, {
      script: answerStatus(404),
      env: { CLIENT_MAX_IN_FLIGHT: '1' },
    })
    const statuses = []
    for (let i = 0; i < 5; i++) statuses.push((await get(`chargingAvailability=${i}`)).status)
    t.strictSame(statuses, [404, 404, 404, 404, 404])
  })
})
