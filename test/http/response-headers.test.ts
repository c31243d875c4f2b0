import t from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import type { LookupResult } from '../../src/cache/cache.ts'
import { ServiceError } from '../../src/errors.ts'
import { cacheStatus } from '../../src/http/response-headers.ts'
import { arrivalsAt } from '../support/arrivals.ts'
import { commonHeaderProblems } from '../support/error-response.ts'
import type { WireResponse } from '../support/request.ts'
import { answerStation, answerStatus, Barrier } from '../support/scripted-upstream.ts'
import { perCall, waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { until } from '../support/until.ts'

/** Headers that HTTP itself adds to a response. */
const OF_HTTP = new Set(['connection', 'date', 'keep-alive', 'transfer-encoding'])

const headerNames = ({ headers }: WireResponse) =>
  Object.keys(headers)
    .filter((name) => !OF_HTTP.has(name))
    .toSorted()

const NAMES_OF_304 = [
  'access-control-allow-origin',
  'access-control-expose-headers',
  'age',
  'cache-control',
  'cache-status',
  'etag',
  'tracking-id',
  'vary',
  'x-content-type-options',
]
const NAMES_OF_200 = [...NAMES_OF_304, 'content-length', 'content-type'].toSorted()

await t.test('headers of a 200 and a 304', async (t) => {
  const { get } = await startService(t)
  const ok = await get('chargingAvailability=a')
  const etag = ok.headers.etag ?? ''

  await t.test('a 200 has the documented headers and no others', async (t) => {
    t.strictSame(headerNames(ok), NAMES_OF_200)
    t.strictSame(commonHeaderProblems(ok.headers), [])
    t.match(ok.headers, {
      'cache-control': /^no-cache$/,
      'content-length': String(ok.body.length),
      'content-type': /^application\/json; charset=utf-8$/,
      date: /GMT$/,
      etag: /^"[\x21\x23-\x7e]+"$/,
      vary: /^Accept-Encoding$/i,
    })
  })

  await t.test('a 200 has each header once', async (t) => {
    const names = ok.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
    t.strictSame(names.toSorted(), [...new Set(names)].toSorted())
  })

  await t.test('a 304 has the headers of its 200 except those of the body', async (t) => {
    const response = await get('chargingAvailability=a', { headers: { 'if-none-match': etag } })
    t.equal(response.status, 304)
    t.equal(response.body.length, 0)
    t.strictSame(headerNames(response), NAMES_OF_304)
    t.strictSame(commonHeaderProblems(response.headers), [])
    const { 'cache-control': cacheControl, etag: sameEtag, vary } = response.headers
    t.strictSame([cacheControl, sameEtag, vary], ['no-cache', etag, ok.headers.vary])
    t.match(response.headers.date, /GMT$/)
  })

  await t.test('a 304 has the Tracking-ID of its own request', async (t) => {
    const headers = { 'if-none-match': etag, 'tracking-id': 'mine-1' }
    t.equal((await get('chargingAvailability=a', { headers })).headers['tracking-id'], 'mine-1')
  })
})

await t.test('cacheStatus writes each result as RFC 9211 has it, without a key', async (t) => {
  const found = (result: LookupResult['result'], more: Partial<LookupResult> = {}): LookupResult => ({
    answer: new Answer(referenceStation('a')),
    result,
    ageMs: 0,
    ttlMs: 29_900,
    wasExpired: false,
    isStored: true,
    changedAt: 0,
    staleReason: null,
    ...more,
  })
  const staleReason = new ServiceError('UpstreamFailed')
  const parameters = [
    found('hit'),
    found('stale', { ttlMs: -1 }),
    found('stale', { ttlMs: -4_000, isEmptyUnconfirmed: true }),
    found('stale', { ttlMs: 4_000, isEmptyUnconfirmed: true }),
    found('stale_error', { ttlMs: -1, staleReason, isEmptyUnconfirmed: true }),
    found('stale_error', { ttlMs: -1_001, staleReason }),
    found('coalesced'),
    found('coalesced', { wasExpired: true }),
    found('miss'),
    found('miss', { isStored: false }),
    found('miss', { wasExpired: true }),
  ].map((it) => cacheStatus(it).replace(/^ev-availability-proxy; /, ''))
  t.strictSame(parameters, [
    'hit; ttl=29',
    'hit; ttl=-1',
    'hit; ttl=-4; detail=empty-unconfirmed',
    'hit; ttl=-1; detail=empty-unconfirmed',
    'hit; ttl=-1; detail=UpstreamFailed',
    'hit; ttl=-2; detail=UpstreamFailed',
    'fwd=uri-miss; collapsed',
    'fwd=stale; collapsed',
    'fwd=uri-miss; fwd-status=200; stored',
    'fwd=uri-miss; fwd-status=200',
    'fwd=stale; fwd-status=200; stored',
  ])
})

await t.test('Cache-Status and Age', async (t) => {
  const shown = ({ headers }: WireResponse) => [headers['cache-status'], headers.age]

  await t.test('a first request is a stored miss and the next one is a hit', async (t) => {
    const { get } = await startService(t)
    const miss = await get('chargingAvailability=a')
    const hit = await get('chargingAvailability=a')
    t.strictSame(shown(miss), ['ev-availability-proxy; fwd=uri-miss; fwd-status=200; stored', '0'])
    t.match(shown(hit), [/^ev-availability-proxy; hit; ttl=2\d$/, '0'])
  })

  await t.test('with CACHE_TTL=0 every request is a miss that is not stored', async (t) => {
    const { get } = await startService(t, { env: { CACHE_TTL: '0' } })
    const responses = [await get('chargingAvailability=a'), await get('chargingAvailability=a')]
    const miss = ['ev-availability-proxy; fwd=uri-miss; fwd-status=200', '0']
    t.strictSame(responses.map(shown), [miss, miss])
  })

  await t.test('a request that joins a call in flight is collapsed', async (t) => {
    const barrier = new Barrier()
    const { get, upstream, proxy } = await startService(t, { script: waitFor(barrier) })
    const arrivals = arrivalsAt(proxy.addresses.public.port)
    t.teardown(arrivals.stop)
    const first = get('chargingAvailability=a')
    await upstream.arrived(1)
    const second = get('chargingAvailability=a')
    await arrivals.reached(2)
    barrier.open()
    t.notMatch((await first).headers['cache-status'], /collapsed/)
    t.strictSame(shown(await second), ['ev-availability-proxy; fwd=uri-miss; collapsed', '0'])
  })

  await t.test('a stale answer has a negative ttl and a growing Age while its refresh runs', async (t) => {
    const never = new Barrier()
    const script = perCall(({ number }) => (number > 1 ? waitFor(never) : answerStation))
    const env = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '1h', UPSTREAM_TIMEOUT: '1m' }
    const { get, upstream } = await startService(t, { script, env })
    await get('chargingAvailability=a')
    let stale = await get('chargingAvailability=a')
    await until('an Age of a second', async () => {
      stale = await get('chargingAvailability=a')
      return stale.headers.age !== '0'
    })
    t.match(shown(stale), [/^ev-availability-proxy; hit; ttl=-[12]$/, '1'])
    t.equal(upstream.calls.length, 2, 'one refresh')
  })

  await t.test('a stale answer that replaces an error has the error code as its detail', async (t) => {
    const script = perCall(({ number }) => (number > 1 ? answerStatus(500) : answerStation))
    const env = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' }
    const { get, upstream } = await startService(t, { script, env })
    await get('chargingAvailability=a')
    let stale = await get('chargingAvailability=a')
    await until('the answer is stale', async () => {
      stale = await get('chargingAvailability=a')
      return upstream.calls.length > 1
    })
    t.equal(stale.status, 200)
    t.match(stale.headers['cache-status'], /^ev-availability-proxy; hit; ttl=-1; detail=UpstreamFailed$/)
  })
})
