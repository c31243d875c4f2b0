import type { Test } from 'tap'
import t from 'tap'
import { isUnmodifiedSince } from '../../src/http/response-headers.ts'
import { startService } from '../support/service.ts'
import { connector, level, station } from '../support/stations.ts'
import { sendJson } from '../support/scripted-upstream.ts'

const QUERY = 'chargingAvailability=a'

/** A service whose station has another number of free points with every call, until `freeze`. */
async function startChanging(t: Test) {
  let free = 0
  let isFrozen = false
  const service = await startService(t, {
    env: { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' },
    script: ({ id }, response) => {
      if (!isFrozen) free++
      sendJson(response, station(id, connector('Chademo', level(50, free)), connector('Tesla', level(250))))
    },
  })
  /** Asks again after the TTL, so that upstream is called. */
  const next: typeof service.get = async (query, options) => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return service.get(query, options)
  }
  return { ...service, next, freeze: () => (isFrozen = true) }
}

await t.test('Last-Modified is the time of the last change, on 200 and 304, for all filters', async (t) => {
  const { next, freeze } = await startChanging(t)
  const first = await next(QUERY)
  t.equal(first.headers['last-modified'], undefined, 'no change has been seen')
  const before = Math.floor(Date.now() / 1000)
  const second = await next(QUERY)
  freeze()
  const date = String(second.headers['last-modified'])
  t.match(date, /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/)
  t.ok(Date.parse(date) / 1000 >= before && Date.parse(date) <= Date.now())
  const others = [
    await next(QUERY),
    await next(`${QUERY}&connectorSet=Tesla`),
    await next(QUERY, { ext: 'xml' }),
    await next(QUERY, { headers: { 'if-none-match': '*' } }),
  ]
  t.strictSame(
    others.map(({ status, headers }) => [status, headers['last-modified']]),
    [200, 200, 200, 304].map((status) => [status, date]),
  )
  t.equal((await next('chargingAvailability=b')).headers['last-modified'], undefined)
})

await t.test('If-Modified-Since counts only without If-None-Match, and only after a change', async (t) => {
  const { next, freeze } = await startChanging(t)
  const future = new Date(Date.now() + 60_000).toUTCString()
  t.equal((await next(QUERY, { headers: { 'if-modified-since': future } })).status, 200)
  const { headers } = await next(QUERY)
  freeze()
  const date = String(headers['last-modified'])
  const earlier = new Date(Date.parse(date) - 1_000).toUTCString()
  const statusFor = async (conditions: Record<string, string>) =>
    (await next(QUERY, { headers: conditions })).status
  t.strictSame(
    [
      await statusFor({ 'if-modified-since': date }),
      await statusFor({ 'if-modified-since': future }),
      await statusFor({ 'if-modified-since': earlier }),
      await statusFor({ 'if-modified-since': 'yesterday' }),
      await statusFor({ 'if-modified-since': date, 'if-none-match': '"another"' }),
      await statusFor({ 'if-modified-since': earlier, 'if-none-match': String(headers['etag']) }),
    ],
    [304, 304, 200, 200, 200, 304],
  )
})

await t.test('every form of HTTP-date is understood, and nothing else', (t) => {
  const changedAt = Date.UTC(1994, 10, 6, 8, 49, 37) / 1000
  const dates = [
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
    'Sun, 06 Nov 1994 08:49:36 GMT',
    '1994-11-06T08:49:37Z',
    '784111777',
    '',
    ' GMT',
    `${'x'.repeat(50)} GMT`,
  ]
  t.strictSame(
    dates.map((date) => isUnmodifiedSince(date, changedAt)),
    [true, true, true, false, false, false, false, false, false],
  )
  t.notOk(isUnmodifiedSince(undefined, changedAt))
  t.notOk(isUnmodifiedSince('Sun, 06 Nov 1994 08:49:37 GMT', 0))
  t.end()
})

await t.test('an answer with other whitespace and another order of members is not modified', async (t) => {
  const bodies = [
    '{"chargingAvailability":"a","connectors":[{"type":"Tesla","total":1,"availability":{"current":{"available":1}}}]}',
    ' {"connectors": [ {"availability":{"current":{"available":1}},"total":1,"type":"Tesla"} ],\n"chargingAvailability":"a"}',
  ]
  const { get } = await startService(t, {
    env: { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' },
    oddShapes: true,
    script: ({ number }, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(bodies[(number - 1) % 2])
    },
  })
  const first = await get(QUERY)
  await new Promise((resolve) => setTimeout(resolve, 5))
  const second = await get(QUERY)
  t.strictSame([second.text, second.headers.etag], [first.text, first.headers.etag])
  t.equal(second.headers['last-modified'], undefined)
})
