import { writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import {
  MAX_CLIENTS,
  parseClientLines,
  parseClientPairs,
  formatProblems,
} from '../../src/config/client-keys.ts'
import { openClients } from '../../src/clients/clients.ts'
import { Answer } from '../../src/cache/answer.ts'
import type { AdmissionOptions } from '../../src/http/admission.ts'
import { MAX_WINDOWS, createFixedWindowStore } from '../../src/http/fixed-window-store.ts'
import { createPublicServer } from '../../src/http/server.ts'
import type { Gauges } from '../../src/events.ts'
import { broadcast } from '../../src/events.ts'
import { createMetrics } from '../../src/ops/metrics/metrics.ts'
import { MetricsRecorder } from '../../src/ops/metrics/metrics-recorder.ts'
import { READ_EVERY_MS } from '../../src/lib/watched-file.ts'
import type { WireAnswer } from '../support/ask.ts'
import { pathFor } from '../support/ask.ts'
import { settled, TestClock } from '../support/clock.ts'
import { problemFaults } from '../support/problem.ts'
import { answerStatus, Barrier } from '../support/scripted-upstream.ts'
import { held, silence } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { until } from '../support/until.ts'

const WEB = 'web-key-0123456789abcdef'
const IOS = 'ios-key-0123456789abcdef'
const KEYS = `web=${WEB},ios=${IOS}`

await t.test('a list of clients', async (t) => {
  const mistakes = (text: string) => parseClientPairs(text).problems

  await t.test('is name=key, separated by commas, or one a line with comments', async (t) => {
    const both = [
      { name: 'web', key: WEB },
      { name: 'ios', key: IOS },
    ]
    t.strictSame(parseClientPairs(KEYS), { clients: both, problems: [] })
    t.strictSame(parseClientPairs(` web=${WEB} , ios=${IOS},`), { clients: both, problems: [] })
    const lines = `\ufeff# who may ask\n\nweb=${WEB}\r\n  # the app\n  ios=${IOS}  \n`
    t.strictSame(parseClientLines(lines), { clients: both, problems: [] })
  })

  await t.test('has names of 1 to 32 characters, and none that the metrics use', async (t) => {
    for (const name of ['a', 'a'.repeat(32), '0-9', '-']) t.strictSame(mistakes(`${name}=${WEB}`), [], name)
    for (const name of ['', 'a'.repeat(33), 'Web', 'a_b', 'a.b', 'é', 'a b']) {
      t.strictSame(mistakes(`${name}=${WEB}`), ['entry 1: a name is 1 to 32 of a-z, 0-9 and -'], name)
    }
    t.strictSame(mistakes(`none=${WEB}`), ['entry 1: this name is what the metrics call requests of nobody'])
  })

  await t.test('has keys of 16 to 256 characters that need no encoding in a URL', async (t) => {
    for (const key of ['k'.repeat(16), 'k'.repeat(17), 'k'.repeat(256), 'AZaz09-._~AZaz09'])
      t.strictSame(mistakes(`web=${key}`), [], key)
    for (const key of [
      '',
      'k'.repeat(15),
      'k'.repeat(257),
      `${WEB}+`,
      `${WEB}=`,
      `${WEB}/`,
      `${WEB} x`,
      `é${WEB}`,
    ])
      t.strictSame(mistakes(`web=${key}`), ['entry 1: a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~'], key)
    t.strictSame(mistakes('web'), ['entry 1: name=key is expected'])
  })

  await t.test('has each name and each key once', async (t) => {
    t.strictSame(mistakes(`web=${WEB},web=${IOS}`), ['entry 2: the name was used before'])
    t.strictSame(mistakes(`web=${WEB},ios=${WEB}`), ['entry 2: the key was used before'])
  })

  await t.test('has at least one client and at most a hundred', async (t) => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => `c${i}=${String(i).padStart(16, 'k')}`).join()
    t.equal(MAX_CLIENTS, 100)
    for (const count of [1, 99, 100]) t.strictSame(mistakes(many(count)), [], String(count))
    t.strictSame(mistakes(many(101)), ['there are more than 100 clients'])
    for (const text of ['', ' ', ',,']) t.strictSame(mistakes(text), ['there is no client'], text)
    t.strictSame(parseClientLines('# nobody\n').problems, ['there is no client'])
  })

  await t.test('tells all mistakes together, by place, and repeats nothing', async (t) => {
    const text = `cAnArY,web=cAnArY,cAnArY=${WEB}\n`
    const told = formatProblems(mistakes(text))
    t.match(told, /^entry 1: .*; entry 2: .*; entry 3: /)
    t.notMatch(told, /cAnArY/)
    const long = formatProblems(mistakes('x,'.repeat(10_000)))
    t.ok(long.length < 1_000 && long.endsWith(' more mistakes'), 'and is of bounded length')
  })
})

/** Clients in a file, what was told of it, and a clock to read it again with. */
function watched(t: Test, content: string) {
  const file = `${t.testdir({ clients: content })}/clients`
  const clock = new TestClock()
  const told: unknown[] = []
  const observer = {
    clientsChanged: (names: readonly string[]) => void told.push(names),
    clientsReloadFailed: (reason: string) => void told.push(reason),
  }
  const clients = openClients({ file }, { clock, observer })
  const afterChange = async (text: string) => {
    writeFileSync(file, text)
    await clock.advance(READ_EVERY_MS)
    while (clock.pending === 0) await settled()
  }
  return { clients, told, clock, afterChange }
}

await t.test('clients', async (t) => {
  await t.test('are found by their key and by nothing else', async (t) => {
    const { clients } = parseClientPairs(KEYS)
    const observer = { clientsChanged: () => t.fail(), clientsReloadFailed: () => t.fail() }
    const {
      nameOf,
      names,
      secrets: known,
    } = openClients({ value: clients }, { clock: new TestClock(), observer })
    t.equal(nameOf(WEB), 'web')
    t.equal(nameOf(IOS), 'ios')
    for (const key of ['', 'web', WEB.slice(0, -1), `${WEB}x`, WEB.toUpperCase(), `${WEB}\0`, 'constructor'])
      t.equal(nameOf(key), null, key)
    t.strictSame(names(), ['web', 'ios'])
    t.strictSame(known(), [WEB, IOS])
  })

  await t.test('are read again from their file', async (t) => {
    const { clients, told, afterChange, clock } = watched(t, `web=${WEB}\n`)
    await afterChange(`# the same\nweb=${WEB}`)
    t.strictSame(told, [], 'the same clients are no change')
    await afterChange(`ios=${IOS}\nweb=${WEB}\n`)
    t.strictSame(told, [['ios', 'web']])
    t.equal(clients.nameOf(IOS), 'ios')
    await afterChange(`ios=${WEB}\n`)
    t.equal(clients.nameOf(WEB), 'ios', 'a key may change hands')
    t.equal(clients.nameOf(IOS), null, 'a key that was taken away is in force no longer')
    t.strictSame([...clients.secrets()].toSorted(), [IOS, WEB].toSorted(), 'and still may not be shown')
    t.equal(told.length, 2)
    clients.stop()
    t.equal(clock.pending, 0)
  })

  await t.test('stay in force when their file has a mistake, which is told once', async (t) => {
    const { clients, told, afterChange } = watched(t, `web=${WEB}`)
    for (const text of ['', '', `web=${IOS}\ncAnArY\n`, `web=${IOS}\ncAnArY\n`]) {
      await afterChange(text)
      t.equal(clients.nameOf(WEB), 'web', JSON.stringify(text))
      t.equal(clients.nameOf(IOS), null)
    }
    t.match(told, [/there is no client/, /line 2: name=key is expected/])
    t.equal(told.length, 2)
    t.notMatch(told.join(), /cAnArY|-key-/)
    await afterChange(`web=${IOS}`)
    t.equal(clients.nameOf(IOS), 'web')
    clients.stop()
  })

  await t.test('are refused at the start where their file is bad', async (t) => {
    t.throws(() => watched(t, 'web=short'), /^the file is no list of clients: line 1: a key is/)
  })

  await t.test('leave a bounded number of keys behind', async (t) => {
    const { clients, afterChange } = watched(t, `web=${WEB}`)
    const generation = (n: number) =>
      Array.from({ length: 100 }, (_, i) => `c${i}=generation-${n}-of-keys-${i}`).join('\n')
    for (let n = 0; n < 5; n++) await afterChange(generation(n))
    t.equal(clients.secrets().length, 300, 'those in force and the last two hundred')
    t.notOk(clients.secrets().includes(WEB))
    clients.stop()
  })
})

const isForbidden = (t: Test, answer: WireAnswer, format: 'json' | 'xml', why: string) =>
  t.strictSame(problemFaults(answer, { status: 403, code: 'Forbidden', format }), [], why)

await t.test('with client keys', async (t) => {
  const { get, ask, proxy, upstream, askAdmin } = await startService(t, {
    env: { CLIENT_KEYS: KEYS, ACCESS_LOG: 'true' },
  })

  await t.test('who has one is answered, in both formats, wherever in the query it stands', async (t) => {
    for (const ext of ['json', 'xml']) {
      t.equal((await get(`chargingAvailability=a&key=${WEB}`, { ext })).status, 200, ext)
      t.equal((await get(`key=${IOS}&chargingAvailability=a`, { ext })).status, 200, ext)
    }
    t.equal((await get(`chargingAvailability=a&k%65y=${WEB.replace('w', '%77')}`)).status, 200, 'encoded')
  })

  await t.test('who has none is refused, before anything else of the request is looked at', async (t) => {
    const calls = upstream.calls.length
    const bodies = new Set<string>()
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
      const answer = await get(query)
      isForbidden(t, answer, 'json', query)
      bodies.add(answer.text)
      isForbidden(t, await get(query, { ext: 'xml' }), 'xml', query)
    }
    t.equal(bodies.size, 1, 'whatever is wrong with a key, clients read the same')
    isForbidden(t, await ask('/search/2/chargingAvailability.json'), 'json', 'no query at all')
    isForbidden(t, await get('chargingAvailability=b', { ext: 'yaml' }), 'json', 'a wrong format')
    t.equal((await get(`key=${WEB}`)).status, 400, 'with a key, parameters are looked at')
    t.equal(upstream.calls.length, calls, 'upstream is not asked')
  })

  await t.test('a refusal can be read by a page and found by its Tracking-ID', async (t) => {
    const headers = { origin: 'https://page.example', 'tracking-id': 'find-me' }
    const answer = await get('chargingAvailability=a', { headers })
    t.match(answer.headers, { 'access-control-allow-origin': '*', 'tracking-id': 'find-me' })
    const line = proxy.logs.find(({ trackingId, msg }) => trackingId === 'find-me' && msg === 'client error')
    t.match(line, { code: 'Forbidden', status: 403, reason: 'no key was given' })
  })

  await t.test('preflights and the service itself stay open, and a body ends the connection', async (t) => {
    const headers = { origin: 'https://page.example', 'access-control-request-method': 'GET' }
    t.equal((await get('chargingAvailability=a', { method: 'OPTIONS', headers })).status, 204)
    t.equal((await ask('/healthz')).status, 200)
    t.equal((await ask('/openapi.yaml')).status, 200)
    t.equal((await ask('/nothing')).status, 404)
    t.equal((await get('chargingAvailability=a', { method: 'POST' })).status, 405)
    const withBody = await get(`chargingAvailability=a&key=${WEB}`, { body: 'x' })
    t.equal(withBody.status, 400)
    t.equal(withBody.headers.connection, 'close')
    t.equal((await get('chargingAvailability=a', { body: 'x' })).status, 400, 'without a key too')
  })

  await t.test('the log has the name and never the key', async (t) => {
    await get(`chargingAvailability=a&key=${IOS}`, { headers: { 'tracking-id': 'by-ios' } })
    await get(`key=${IOS}`, { headers: { 'tracking-id': 'wrong-by-ios' } })
    const lines = proxy.logs.filter(({ trackingId }) => String(trackingId).endsWith('by-ios'))
    t.strictSame(
      lines.map(({ msg, client }) => [msg, client]),
      [
        ['request answered', 'ios'],
        ['client error', 'ios'],
        ['request answered', 'ios'],
      ],
    )
    t.notMatch(proxy.rawLogs.join(''), /-key-0123456789/)
  })

  await t.test('each is counted by name, and nobody as none', async (t) => {
    const count = (client: string) => proxy.metric(`evproxy_client_requests_total{client="${client}"}`)
    const before = [await count('web'), await count('ios'), await count('none')]
    await get(`chargingAvailability=a&key=${WEB}`)
    await get(`key=${WEB}`)
    await get('chargingAvailability=a&key=unknown')
    t.strictSame(
      [await count('web'), await count('ios'), await count('none')],
      [(before[0] ?? 0) + 2, before[1], (before[2] ?? 0) + 1],
    )
    const { text } = await askAdmin('/metrics')
    t.equal(text.match(/^evproxy_client_requests_total\{/gm)?.length, 3, 'and there is no other label')
    t.notMatch(text, 'evproxy_client_limited_total', 'nor limits that are off')
  })
})

await t.test('client keys in a file', async (t) => {
  const file = `${t.testdir({ clients: `web=${WEB}\nold=${'o'.repeat(16)}\n` })}/clients`
  const { get, proxy } = await startService(t, { env: { CLIENT_KEYS_FILE: file } })
  t.equal((await get(`chargingAvailability=a&key=${'o'.repeat(16)}`)).status, 200)
  const { text } = await (await fetch(`${proxy.adminUrl}/metrics`)).text().then((text) => ({ text }))
  for (const name of ['web', 'none'])
    t.match(text, `evproxy_client_requests_total{client="${name}"} 0`, 'from the start')
  writeFileSync(file, `web=${WEB}\nios=${IOS}\n`)
  await until(
    'the new key is in force',
    async () => (await get(`chargingAvailability=a&key=${IOS}`)).status === 200,
  )
  t.equal((await get(`chargingAvailability=a&key=${'o'.repeat(16)}`)).status, 403)
  const after = await (await fetch(`${proxy.adminUrl}/metrics`)).text()
  t.match(after, /evproxy_client_requests_total\{client="ios"\} [1-9]/)
  t.notMatch(after, 'client="old"', 'whoever was taken away is no label any more')
  t.match(
    proxy.logs.find(({ msg }) => msg === 'client keys reloaded'),
    {
      clients: ['web', 'ios'],
    },
  )
})

await t.test('a client that was taken away and comes back is counted from zero', async (t) => {
  const gauges = { access: () => ({ clients: ['web', 'old'], isLimited: false }) } as unknown as Gauges
  gauges.cache = () => ({ entries: 0, bytes: 0 })
  gauges.upstream = () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: null })
  gauges.quota = gauges.sharedCacheUp = () => null
  gauges.effectiveTtlMs = () => 0
  const recorder = new MetricsRecorder()
  const { observer } = recorder
  const { render } = createMetrics(recorder, gauges, { version: '1', nodeVersion: '1' })
  for (const name of ['web', 'old', null]) observer.clientIdentified?.(name)
  observer.clientsChanged?.(['web'])
  const text = await render()
  for (const sample of ['web"} 1', 'old"} 0', 'none"} 1']) t.match(text, `client="${sample}`)
})

interface Asked {
  readonly query?: string
  readonly from?: string
  readonly forwarded?: string
}

/** The public server before a cache that holds everything, on a clock that stands still. */
async function door(
  t: Test,
  options: Partial<AdmissionOptions> & { trustedProxies?: readonly string[] },
  clients: { nameOf: (key: string) => string | null } | null = null,
) {
  const clock = new TestClock()
  const limited: string[] = []
  const app = await createPublicServer(
    {
      perSecond: 0,
      maxInFlight: 0,
      trustedProxies: [],
      corsOrigins: '*',
      accessLog: false,
      openapi: '',
      docs: false,
      isDraining: () => false,
      ...options,
    },
    {
      cache: {
        get: (id) => ({
          answer: new Answer(referenceStation(id)),
          result: 'hit',
          ageMs: 0,
          ttlMs: 1,
          wasExpired: false,
          isStored: true,
          staleReason: null,
        }),
        inFlight: () => undefined,
      },
      clients,
      clock,
      observer: broadcast([{ clientLimited: (limit) => void limited.push(limit) }]),
    },
  )
  t.teardown(() => app.close())
  const request = ({ query = '', from = '192.0.2.1', forwarded }: Asked = {}) =>
    app.inject({
      url: pathFor(`chargingAvailability=a&${query}`),
      remoteAddress: from,
      headers: { host: 'x', ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }) },
    })
  const status = async (asked?: Asked) => (await request(asked)).statusCode
  return { app, clock, limited, request, status }
}

await t.test('a connection that drips is ended: Node counts the time that is set here', async (t) => {
  const { server } = (await door(t, {})).app
  t.equal(server.headersTimeout, 10_000)
  t.equal(server.requestTimeout, 30_000)
})

await t.test('a limit of requests a second', async (t) => {
  await t.test('lets so many through, refuses the next, and begins anew after the second', async (t) => {
    const { clock, limited, request, status } = await door(t, { perSecond: 3 })
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 3; i++) t.equal(await status(), 200)
      const refused = await request()
      const { statusCode, headers, body } = refused
      t.strictSame(
        problemFaults(
          { status: statusCode, headers: headers as Record<string, string>, text: body },
          { status: 429, code: 'TooManyRequests' },
        ),
        [],
      )
      t.equal(headers['retry-after'], '1')
      t.notOk(Object.keys(headers).some((name) => name.startsWith('x-ratelimit')))
      await clock.advance(999)
      t.equal(await status(), 429, 'the second is not over')
      await clock.advance(1)
    }
    t.equal(limited.length, 6)
  })

  await t.test('does not hear of the wall clock', async (t) => {
    const { clock, status } = await door(t, { perSecond: 1 })
    t.strictSame([await status(), await status()], [200, 429])
    clock.setWall(clock.wall() - 3_600_000)
    await clock.advance(1_000)
    t.equal(await status(), 200)
  })

  await t.test('is for each address; an IPv6 network of 64 bits is one', async (t) => {
    const { status } = await door(t, { perSecond: 1 })
    for (const [from, expected] of [
      ['192.0.2.1', 200],
      ['192.0.2.1', 429],
      ['192.0.2.2', 200],
      ['::ffff:192.0.2.2', 429],
      ['2001:db8:0:1::1', 200],
      ['2001:db8:0:1:ffff::2', 429],
      ['2001:db8:0:2::1', 200],
    ] as const)
      t.equal(await status({ from }), expected, from)
  })

  await t.test('is for each name where there are keys, wherever the requests come from', async (t) => {
    const nameOf = (key: string) => (['web', 'ios'].includes(key) ? key : null)
    const { status } = await door(t, { perSecond: 1 }, { nameOf })
    t.equal(await status({ query: 'key=web' }), 200)
    t.equal(await status({ query: 'key=web', from: '192.0.2.2' }), 429)
    t.equal(await status({ query: 'key=ios' }), 200)
    for (let i = 0; i < 3; i++) t.equal(await status({ query: 'key=nobody' }), 403, 'the key comes first')
  })

  await t.test('counts what is wrong, and nothing but the mirrored route', async (t) => {
    const { app, status } = await door(t, { perSecond: 1 })
    for (let i = 0; i < 3; i++)
      t.equal((await app.inject({ url: '/healthz', headers: { host: 'x' } })).statusCode, 200)
    t.equal(await status({ query: 'minPowerKW=x' }), 400)
    t.equal(await status({ query: 'minPowerKW=x' }), 429)
  })

  await t.test('remembers ten thousand addresses, the most recent ones', async (t) => {
    const windows = new (createFixedWindowStore(new TestClock()))({})
    const requests = (client: string) => {
      let current = 0
      windows.incr(client, (_error, window) => (current = window?.current ?? 0), 1_000, 1)
      return current
    }
    t.equal(MAX_WINDOWS, 10_000)
    t.strictSame([requests('first'), requests('first')], [1, 2])
    for (let i = 0; i < MAX_WINDOWS - 1; i++) requests(`other ${i}`)
    t.equal(requests('first'), 3, 'among so many it is still known')
    for (let i = 0; i < MAX_WINDOWS; i++) requests(`another ${i}`)
    t.equal(requests('first'), 1, 'one more, and it is forgotten')
  })
})

await t.test('X-Forwarded-For', async (t) => {
  /** Whether a second request is taken for the same client as a first. */
  const areOne = async (trustedProxies: readonly string[], first: Asked, second: Asked) => {
    const { status } = await door(t, { perSecond: 1, trustedProxies })
    return (await status(first), await status(second)) === 429
  }
  const proxy = '10.0.0.1'

  t.ok(await areOne([], { forwarded: '192.0.2.1' }, { forwarded: '192.0.2.2' }), 'is ignored without trust')
  t.ok(
    await areOne([proxy], { forwarded: '192.0.2.1' }, { forwarded: '192.0.2.2' }),
    'is ignored from an address that is not trusted',
  )
  t.notOk(
    await areOne([proxy], { from: proxy, forwarded: '192.0.2.1' }, { from: proxy, forwarded: '192.0.2.2' }),
    'is believed from one that is',
  )
  t.notOk(
    await areOne(
      ['10.0.0.0/8'],
      { from: proxy, forwarded: '192.0.2.1' },
      { from: proxy, forwarded: '192.0.2.2' },
    ),
    'or is in a network that is',
  )
  t.ok(
    await areOne(
      ['10.0.0.0/8'],
      { from: proxy, forwarded: '198.51.100.1, 192.0.2.1' },
      { from: proxy, forwarded: '198.51.100.2, 192.0.2.1' },
    ),
    'from the right, up to the first that is not trusted: what a client wrote itself is not believed',
  )
  t.notOk(
    await areOne(
      ['10.0.0.0/8'],
      { from: proxy, forwarded: '192.0.2.1, 10.0.0.2' },
      { from: proxy, forwarded: '192.0.2.2, 10.0.0.2' },
    ),
    'through a chain of trusted proxies',
  )
  t.ok(
    await areOne(
      ['10.0.0.0/8'],
      { from: proxy, forwarded: 'x'.repeat(8_000) },
      { from: proxy, forwarded: 'unknown' },
    ),
    'that is no address counts as that of the proxy',
  )
})

await t.test('a limit of requests in flight', async (t) => {
  const STALE = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0', UPSTREAM_SOFT_TIMEOUT: '5m' }

  await t.test('holds for what waits for upstream, at, under and over it', async (t) => {
    const gate = new Barrier()
    const { get, upstream, proxy } = await startService(t, {
      script: held(gate),
      env: { CLIENT_MAX_IN_FLIGHT: '2', CLIENT_KEYS: KEYS },
    })
    const first = get(`chargingAvailability=a&key=${WEB}`)
    const second = get(`chargingAvailability=b&key=${WEB}`)
    await upstream.arrived(2)
    const refused = await get(`chargingAvailability=c&key=${WEB}`, { ext: 'xml' })
    t.strictSame(problemFaults(refused, { status: 429, code: 'TooManyRequests', format: 'xml' }), [])
    t.equal((await get(`chargingAvailability=a&key=${WEB}`)).status, 429, 'joining is waiting too')
    t.equal(upstream.calls.length, 2, 'no call was made for it')
    const other = get(`chargingAvailability=c&key=${IOS}`)
    await upstream.arrived(3)
    gate.open()
    t.strictSame(
      (await Promise.all([first, second, other])).map(({ status }) => status),
      [200, 200, 200],
    )
    t.equal((await get(`chargingAvailability=d&key=${WEB}`)).status, 200, 'places are free again')
    t.equal(await proxy.metric('evproxy_client_limited_total{limit="in_flight"}'), 2)
    t.equal(await proxy.metric('evproxy_client_limited_total{limit="rate"}'), 0)
    const lookups = await Promise.all(
      ['hit', 'stale', 'stale_error', 'coalesced', 'miss', 'error'].map((result) =>
        proxy.metric(`evproxy_cache_requests_total{result="${result}"}`),
      ),
    )
    t.strictSame(lookups, [0, 0, 0, 0, 4, 2], 'each lookup counts once')
  })

  await t.test('lets through what is held, and gives an old answer in place of 429', async (t) => {
    const { get, upstream } = await startService(t, { env: { CLIENT_MAX_IN_FLIGHT: '1', CACHE_TTL: '24h' } })
    await get('chargingAvailability=held')
    upstream.script = silence
    void get('chargingAvailability=slow').catch(() => {})
    await upstream.arrived(2)
    t.equal((await get('chargingAvailability=held')).status, 200)

    const stale = await startService(t, { env: { CLIENT_MAX_IN_FLIGHT: '1', ...STALE } })
    await stale.get('chargingAvailability=held')
    stale.upstream.script = silence
    void stale.get('chargingAvailability=slow').catch(() => {})
    await stale.upstream.arrived(2)
    const old = await stale.get('chargingAvailability=held')
    t.equal(old.status, 200)
    t.match(old.headers['cache-status'], /detail=TooManyRequests/)
    t.equal(stale.upstream.calls.length, 2)
  })

  await t.test('is not got round by leaving', async (t) => {
    const gate = new Barrier()
    const { get, upstream } = await startService(t, {
      script: held(gate),
      env: { CLIENT_MAX_IN_FLIGHT: '1', UPSTREAM_TIMEOUT: '60s' },
    })
    const client = new AbortController()
    const left = get('chargingAvailability=a', { signal: client.signal })
    await upstream.arrived(1)
    client.abort()
    await t.rejects(left)
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20)) // the server must hear that it left
      t.equal((await get(`chargingAvailability=b${i}`)).status, 429, 'its call is still under way')
    }
    t.equal(upstream.calls.length, 1)
    gate.open()
    await until('its place is free', async () => (await get('chargingAvailability=c')).status === 200)
  })

  await t.test('frees its place when the call fails', async (t) => {
    const { get } = await startService(t, {
      script: answerStatus(404),
      env: { CLIENT_MAX_IN_FLIGHT: '1' },
    })
    for (let i = 0; i < 5; i++) t.equal((await get(`chargingAvailability=${i}`)).status, 404)
  })
})
