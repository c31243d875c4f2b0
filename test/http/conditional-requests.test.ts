import t from 'tap'
import { matchesEtag } from '../../src/http/response-headers.ts'
import { startService } from '../support/service.ts'
import { stationOfSize } from './cases.ts'

await t.test('matchesEtag reads If-None-Match as RFC 9110 has it', async (t) => {
  const cases: [ifNoneMatch: string | undefined, matches: boolean][] = [
    [undefined, false],
    ['', false],
    ['"tag"', true],
    ['W/"tag"', true],
    ['*', true],
    [' * ', true],
    ['"a", "tag"', true],
    ['W/"a,b",W/"tag" , "c"', true],
    ['"a,"tag"', false],
    ['"another"', false],
    ['tag', false],
    ['"xtag"', false],
    ['"Tag"', false],
  ]
  t.strictSame(
    cases.map(([ifNoneMatch]) => [ifNoneMatch, matchesEtag(ifNoneMatch, '"tag"')]),
    cases,
  )
})

await t.test('conditional requests', async (t) => {
  const { get, upstream } = await startService(t, { script: stationOfSize(4_000) })
  const gzip = { 'accept-encoding': 'gzip' }
  const plain = (await get('chargingAvailability=a')).headers.etag ?? ''
  const gzipped = (await get('chargingAvailability=a', { headers: gzip })).headers.etag ?? ''

  await t.test('a content coding has its own strong tag, and only that tag is a 304', async (t) => {
    t.not(plain, gzipped)
    const cases: [coding: 'identity' | 'gzip', ifNoneMatch: string, status: number][] = [
      ['identity', plain, 304],
      ['gzip', gzipped, 304],
      ['identity', gzipped, 200],
      ['gzip', plain, 200],
      ['identity', `W/${plain}`, 304],
      ['gzip', `W/${gzipped}`, 304],
      ['identity', '*', 304],
      ['gzip', ' * ', 304],
      ['identity', `"a", ${plain}`, 304],
      ['gzip', `W/"a,b",W/${gzipped} , "c"`, 304],
      ['identity', `${gzipped}, ${plain}`, 304],
      ['identity', '"another"', 200],
      ['identity', plain.replaceAll('"', ''), 200],
      ['identity', `"x${plain.slice(1)}`, 200],
      ['identity', '', 200],
    ]
    const received = await Promise.all(
      cases.map(async ([coding, ifNoneMatch]) => {
        const headers = { 'accept-encoding': coding, 'if-none-match': ifNoneMatch }
        const response = await get('chargingAvailability=a', { headers })
        return [coding, ifNoneMatch, response.status, response.headers.etag] as const
      }),
    )
    const tags = { identity: plain, gzip: gzipped }
    t.strictSame(
      received,
      cases.map((it) => [...it, tags[it[0]]]),
    )
  })

  await t.test('several If-None-Match lines are one list', async (t) => {
    const headers = { 'if-none-match': ['"a"', plain] }
    t.equal((await get('chargingAvailability=a', { headers })).status, 304)
  })

  await t.test('a tag is not valid for another format, filter or station', async (t) => {
    const headers = { 'if-none-match': plain }
    const responses = [
      await get('chargingAvailability=a', { headers, ext: 'xml' }),
      await get('chargingAvailability=a&minPowerKW=50', { headers }),
      await get('chargingAvailability=b', { headers }),
    ]
    t.strictSame(
      responses.map(({ status }) => status),
      [200, 200, 200],
    )
  })

  await t.test('If-None-Match: * is a 304 for a fetched answer and never replaces an error', async (t) => {
    const headers = { 'if-none-match': '*' }
    const responses = [
      await get('chargingAvailability=fetched-now', { headers }),
      await get('minPowerKW=1', { headers }),
      await get('chargingAvailability=a', { headers, ext: 'yaml' }),
    ]
    t.strictSame(
      responses.map(({ status }) => status),
      [304, 400, 400],
    )
  })

  t.equal(upstream.callsFor('a'), 1, 'one call for all of them')
  t.notOk(
    upstream.calls.some(({ headers }) => 'if-none-match' in headers),
    'no condition is forwarded',
  )
})

await t.test('Range, Accept and conditions on dates are ignored', async (t) => {
  const { get } = await startService(t)
  const plain = await get('chargingAvailability=a')
  const headers = {
    range: 'bytes=0-9',
    'if-range': '"x"',
    accept: 'application/xml, text/html;q=0.9',
    'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT',
  }
  const response = await get('chargingAvailability=a', { headers })
  t.equal(response.status, 200)
  t.equal(response.text, plain.text)
  t.equal(response.headers['content-range'], undefined)
})
