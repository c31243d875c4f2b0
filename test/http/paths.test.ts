import t from 'tap'
import { errorResponseProblems } from '../support/error-response.ts'
import { startService } from '../support/service.ts'
import { problemsByCase } from './cases.ts'

const WRONG_FORMAT = [
  '/search/2/chargingAvailability.JSON',
  '/search/2/chargingAvailability.Json',
  '/search/2/chargingAvailability.XML',
  '/search/2/chargingAvailability.',
  '/search/2/chargingAvailability.jsonp',
  '/search/2/chargingAvailability.json5',
  '/search/2/chargingAvailability.html',
  '/search/2/chargingAvailability..json',
  '/search/2/chargingAvailability.json.',
  '/search/2/chargingAvailability.json%20',
  '/search/2/chargingAvailability.json%00',
  '/search/2/chargingAvailability.json;v=1',
  '/search/2/chargingAvailability.json%3Fa',
  '/search/2/chargingAvailability.js%6Fn',
  '/search/2/chargingAvailability.x%6Dl',
  `/search/2/chargingAvailability.${'x'.repeat(8_000)}`,
  `/search/2/chargingAvailability.${'%41'.repeat(3_000)}`,
]
const UNKNOWN = [
  '/search/2/chargingAvailability',
  '/search/2/chargingAvailability/json',
  '/search/2/chargingAvailability.json/',
  '/search/2/chargingAvailability.json//',
  '/search/2/chargingAvailability.json/x',
  '/search/2/chargingAvailability.xml/',
  '/search/2/chargingavailability.json',
  '/search/2/ChargingAvailability.json',
  '/Search/2/chargingAvailability.json',
  '/search/1/chargingAvailability.json',
  '/search/3/chargingAvailability.json',
  '/search/02/chargingAvailability.json',
  '/search/2.0/chargingAvailability.json',
  '/search//chargingAvailability.json',
  '/search/2//chargingAvailability.json',
  '//search/2/chargingAvailability.json',
  '///search/2/chargingAvailability.json',
  '/search/2/./chargingAvailability.json',
  '/search/2/../2/chargingAvailability.json',
  '/search/2/%2e%2e/chargingAvailability.json',
  '/search/2%2fchargingAvailability.json',
  '/search%2F2%2FchargingAvailability.json',
  '/search/2;a/chargingAvailability.json',
  '/search/2/chargingAvailability%2Ejson',
  '/search/2/charging%41vailability.json',
  '/v1/search/2/chargingAvailability.json',
  '/',
  '/favicon.ico',
  '/metrics',
]
const UNKNOWN_XML = [
  '/search/3/chargingAvailability.xml',
  '/%73earch/2/chargingAvailability.xml',
  '/anything.xml',
]

await t.test('the proxied path is matched exactly', async (t) => {
  const { request, upstream } = await startService(t)
  const problems = (paths: readonly string[], expected: Parameters<typeof errorResponseProblems>[1]) =>
    problemsByCase(paths, async (path) => {
      const response = await request(`${path}?chargingAvailability=a`)
      return [path.slice(0, 60), errorResponseProblems(response, expected)]
    })

  await t.test('a format other than json and xml, in this spelling, is a 400 in JSON', async (t) => {
    t.strictSame(await problems(WRONG_FORMAT, { status: 400, code: 'InvalidParameter' }), {})
  })

  await t.test('every other spelling of the path is a 404', async (t) => {
    t.strictSame(await problems(UNKNOWN, { status: 404, code: 'NotFound' }), {})
  })

  await t.test('an unknown path that ends in .xml is a 404 in XML', async (t) => {
    t.strictSame(await problems(UNKNOWN_XML, { status: 404, code: 'NotFound', format: 'xml' }), {})
  })

  t.equal(upstream.calls.length, 0, 'no upstream call is made')
})
