import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import { RenderingTooLargeError } from '../../src/availability/xml.ts'
import { Answer } from '../../src/cache/answer.ts'
import type { FreshEntry } from '../../src/cache/lookup-result.ts'
import { createEntry } from '../../src/cache/entry-store.ts'
import type { HitListenerDeps } from '../../src/http/hit-listener.ts'
import { createHitListener } from '../../src/http/hit-listener.ts'
import { QueryCache } from '../../src/http/query-cache.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { setupAged } from '../cache/setup.ts'
import { StoppableClock } from '../support/clock.ts'
import type { RequestOptions } from '../support/request.ts'
import { pathFor, request } from '../support/request.ts'
import { sendJson } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { UUID } from './cases.ts'
import { createTestServer, hitFor } from './public-server.ts'

const PLAIN = 'chargingAvailability=a'
const FILTERED = `${PLAIN}&minPowerKW=50`

function freshEntry(answer: Answer): FreshEntry {
  const times = { receivedAt: 0, startedAt: 0, lastUsedAt: 0, changedAt: 0 }
  const entry = createEntry({ answer, ...times, jitter: 1, version: '', fromPeer: false, doubt: null })
  return { entry, age: { ageMs: 0, ttlMs: 1 } }
}

interface ListenOptions {
  readonly basePath?: string
  /** The answers that are fresh, by station. */
  readonly answers?: ReadonlyMap<string, Answer>
  /** In place of a cache with these answers. */
  readonly cache?: HitListenerDeps['cache']
  readonly clock?: Clock
}

/** A server with only this listener: what the listener leaves is 421. `looked` are its lookups, `reported` its responses. */
async function listen(
  t: Test,
  { basePath = '', answers = new Map<string, Answer>(), cache, clock = systemClock }: ListenOptions = {},
) {
  const queries = new QueryCache(10)
  for (const query of [PLAIN, FILTERED]) queries.read(query)
  const looked: string[] = []
  const reported: unknown[] = []
  const cacheOfAnswers = {
    fresh: (id: string) => {
      const answer = answers.get(id)
      return answer === undefined ? null : freshEntry(answer)
    },
    hit: ({ entry }: FreshEntry) => {
      looked.push(entry.answer.id)
      return { ...hitFor('a'), answer: entry.answer }
    },
  }
  const observer = { requestAnswered: (...details: unknown[]) => void reported.push(details.slice(0, 3)) }
  const options = { basePath, corsOrigins: '*', isDraining: () => false } as const
  const answerFirst = createHitListener(options, {
    cache: cache ?? cacheOfAnswers,
    queries,
    clock,
    observer,
  })
  const server = createServer({ requireHostHeader: false }, (incoming, response) => {
    if (!answerFirst(incoming, response)) response.writeHead(421).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const statusOf = async (path: string, sent?: RequestOptions) => (await request(url, path, sent)).status
  return { statusOf, looked, reported }
}

const answer = new Answer(referenceStation('a'))

await t.test('a GET of a station that is fresh, with a filter that is known, is answered', async (t) => {
  const { statusOf, looked, reported } = await listen(t, { answers: new Map([['a', answer]]) })
  const { etag } = answer.render({ types: null, minPowerKW: null, maxPowerKW: null }, 'json', false)
  t.strictSame(
    [
      await statusOf(pathFor(PLAIN)),
      await statusOf(pathFor(FILTERED)),
      await statusOf(pathFor(PLAIN, 'xml')),
      await statusOf(pathFor(PLAIN), { headers: { 'if-none-match': etag } }),
    ],
    [200, 200, 200, 304],
  )
  t.strictSame(looked, ['a', 'a', 'a', 'a'])
  t.strictSame(reported, [
    ['json', 200, 'hit'],
    ['json', 200, 'hit'],
    ['xml', 200, 'hit'],
    ['json', 304, 'hit'],
  ])
})

await t.test('a hit is a use of the stored entry, also if it makes a rendering', async (t) => {
  const { cache, clock } = await setupAged(1_000)
  const { statusOf } = await listen(t, { cache, clock })
  t.equal(await statusOf(pathFor(FILTERED, 'xml')), 200)
  t.equal(cache.store.peek('a')?.lastUsedAt, clock.now())
})

await t.test('every other request is left to the framework, and nothing is counted', async (t) => {
  const large = (bytes: number) => new Answer({ ...referenceStation('a'), note: 'x'.repeat(bytes) })
  const overhead = large(0).json.length
  const answers = new Map([
    ['a', answer],
    ['short', large(8_192 - overhead)],
    ['long', large(8_193 - overhead)],
  ])
  const { statusOf, looked, reported } = await listen(t, { answers })
  const left: readonly (readonly [string, RequestOptions?])[] = [
    [pathFor(PLAIN), { method: 'HEAD' }],
    [pathFor(PLAIN), { method: 'POST', body: '{}' }],
    [pathFor(PLAIN), { body: '{}' }],
    [pathFor(PLAIN), { headers: { prefer: 'wait=10' } }],
    [pathFor(PLAIN), { headers: { connection: 'upgrade', upgrade: 'h2c' } }],
    [`${pathFor(PLAIN)}#fragment`],
    [`http://example.org${pathFor(PLAIN)}`],
    [pathFor(PLAIN, 'txt')],
    [pathFor(PLAIN, 'JSON')],
    [pathFor(PLAIN, '%6Ason')],
    [`/ev${pathFor(PLAIN)}`],
    ['/healthz'],
    [pathFor('')],
    [pathFor(`${PLAIN}&minPowerKW=51`)],
    [pathFor(`${PLAIN}&minPowerKW=x`)],
    [pathFor(`${PLAIN}&${PLAIN}`)],
    [pathFor('chargingAvailability=stale')],
    [pathFor('chargingAvailability=long')],
  ]
  const statuses = await Promise.all(left.map(([path, sent]) => statusOf(path, sent)))
  t.strictSame(
    left.filter((_, i) => statuses[i] !== 421),
    [],
  )
  t.strictSame([looked, reported], [[], []])
  t.equal(await statusOf(pathFor('chargingAvailability=short')), 200, 'the longest that is short')
})

await t.test('an answer that cannot be rendered is left to the framework', async (t) => {
  const render = () => {
    throw new RenderingTooLargeError()
  }
  const answers = new Map([['a', Object.assign(new Answer(referenceStation('a')), { render })]])
  const { statusOf, reported } = await listen(t, { answers })
  t.equal(await statusOf(pathFor(PLAIN)), 421)
  t.strictSame(reported, [])
})

await t.test('with a base path only targets below it are answered', async (t) => {
  const { statusOf } = await listen(t, { basePath: '/ev', answers: new Map([['a', answer]]) })
  t.strictSame([await statusOf(`/ev${pathFor(PLAIN)}`), await statusOf(pathFor(PLAIN))], [200, 421])
})

/** The statuses of two equal requests to the public server, and what looked the station up. */
async function lookups(
  t: Test,
  options: Parameters<typeof createTestServer>[1],
  deps?: Parameters<typeof createTestServer>[2],
) {
  const looked: string[] = []
  const lookup = (name: string) => {
    looked.push(name)
    return hitFor('a')
  }
  const cache = {
    get: () => lookup('route'),
    inFlight: () => undefined,
    fresh: () => freshEntry(answer),
    hit: () => lookup('listener'),
  }
  const { app } = await createTestServer(t, options, { cache, ...deps })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const path = pathFor(`${PLAIN}&key=k`)
  const first = await request(url, path) // from then on its filter is known
  const second = await request(url, path)
  return [first.status, second.status, ...looked]
}

await t.test('client keys, limits of clients and the access log leave all hits to the route', async (t) => {
  t.strictSame(await lookups(t, {}), [200, 200, 'route', 'listener'])
  const answered = await Promise.all([
    lookups(t, { accessLog: true }),
    lookups(t, { perSecond: 5 }),
    lookups(t, { maxInFlight: 5 }),
    lookups(t, { quotaShare: 0.5 }),
    lookups(t, {}, { clients: { nameOf: () => 'web' } }),
  ])
  t.strictSame(
    answered,
    answered.map(() => [200, 200, 'route', 'route']),
  )
})

await t.test('a hit has the response that the proxied route gives', async (t) => {
  const clock = new StoppableClock()
  let isChanged = false
  const { get, proxy } = await startService(t, {
    clock,
    env: {
      CORS_ORIGINS: 'https://a.example,https://b.example',
      CACHE_TTL: '100ms',
      CACHE_STALE_WHILE_REVALIDATE: '0',
    },
    script: ({ id }, response) =>
      sendJson(response, { ...referenceStation(id), ...(isChanged && { note: 'x'.repeat(2_000) }) }),
  })
  const queries = ['', '&minPowerKW=50', '&connectorSet=IEC62196Type2CableAttached', '&maxPowerKW=22&key=k']
  await get('chargingAvailability=b')
  await new Promise((resolve) => setTimeout(resolve, 110))
  clock.stop() // so that what is asked for now stays fresh
  isChanged = true // to an answer that is compressed, with a Last-Modified
  const [, { headers }] = await Promise.all([get('chargingAvailability=a'), get('chargingAvailability=b')])
  t.ok(headers['last-modified'])

  const shown = async (path: string, options: RequestOptions) => {
    const { status, rawHeaders, body } = await request(proxy.url, path, options)
    const fields = rawHeaders.map((text, i) =>
      rawHeaders[i - 1] === 'Date' ? '' : text.replace(UUID, 'new'),
    )
    return { status, fields, body: body.toString('latin1') }
  }
  const differences: unknown[] = []
  const differs = async (path: string, sent: Record<string, string>) => {
    const hit = await shown(path, { headers: sent })
    const routed = await shown(path, { headers: { ...sent, prefer: 'respond-async' } })
    return JSON.stringify(hit) !== JSON.stringify(routed)
  }
  const header = (name: string, values: readonly string[]) =>
    fc.option(fc.constantFrom(...values)).map((value) => (value === null ? {} : { [name]: value }))
  const etags = await Promise.all(
    queries.map(async (rest) => (await get(`chargingAvailability=b${rest}`)).headers['etag'] ?? ''),
  )
  const sentHeaders = fc
    .tuple(
      header('accept-encoding', ['gzip', 'gzip;q=0', '*', 'br, gzip', 'identity']),
      header('if-none-match', ['*', '"x"', ...etags, `W/${etags[0]}`]),
      header('if-modified-since', [String(headers['last-modified']), 'Thu, 01 Jan 1970 00:00:00 GMT', 'x']),
      header('origin', ['https://a.example', 'https://c.example']),
      header('tracking-id', ['mine', 'not one']),
      header('connection', ['close']),
    )
    .map((parts) => Object.assign({}, ...parts) as Record<string, string>)
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('a', 'b'),
      fc.constantFrom(...queries),
      fc.constantFrom('json', 'xml'),
      sentHeaders,
      async (id, rest, ext, sent) => {
        const path = pathFor(`chargingAvailability=${id}${rest}`, ext)
        if (await differs(path, sent)) differences.push([path, sent])
      },
    ),
    { numRuns: 100 },
  )
  t.strictSame(differences, [])
})

await t.test('a hit is counted as one of the proxied route is', async (t) => {
  const { get, proxy } = await startService(t)
  await get(PLAIN)
  const samples = [
    'evproxy_requests_total{format="json",status="200"}',
    'evproxy_request_duration_seconds_count{result="hit"}',
    'evproxy_cache_requests_total{result="hit"}',
  ]
  const counts = () => Promise.all(samples.map((sample) => proxy.metric(sample)))
  await get(PLAIN)
  const afterHit = await counts()
  await get(PLAIN, { headers: { prefer: 'respond-async' } })
  t.strictSame(
    [afterHit, await counts()],
    [
      [2, 1, 1],
      [3, 2, 2],
    ],
  )
})
