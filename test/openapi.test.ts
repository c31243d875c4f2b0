import t from 'tap'
import type { ErrorCode } from '../src/errors.ts'
import { ServiceError } from '../src/errors.ts'
import { renderError } from '../src/http/error-body.ts'
import type { Answer } from './support/contract.ts'
import { bodyProblems, documentedBodies, examplesOf, operations, violations } from './support/contract.ts'

/** A code is a contract: this table is written by hand and never follows the code. */
const STATUS_OF_CODE: Record<string, number> = {
  MissingParameter: 400,
  InvalidParameter: 400,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  RequestTimeout: 408,
  TooManyRequests: 429,
  HeadersTooLarge: 431,
  InternalError: 500,
  UpstreamRefused: 502,
  UpstreamFailed: 502,
  UpstreamUnavailable: 503,
  QuotaExhausted: 503,
  UpstreamTimeout: 504,
}

const ID = '75502858-a491-36fe-7128-23d400153b86'
const JSON_PATH = `/search/2/chargingAvailability.json?chargingAvailability=${ID}`
const XML_PATH = `/search/2/chargingAvailability.xml?chargingAvailability=${ID}`

const EVERY_ANSWER = {
  'tracking-id': '9ac68072-c7a4-11e8-a8d5-f2801f1b9fd1',
  vary: 'Accept-Encoding',
  'x-content-type-options': 'nosniff',
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Tracking-ID, Retry-After, Age, Cache-Status, ETag',
}
const FOUND = {
  ...EVERY_ANSWER,
  'cache-control': 'no-cache',
  etag: '"3vAZq0yG2mT1"',
  age: '12',
  'cache-status': 'ev-availability-proxy; hit; ttl=17',
}
const REFUSED = { ...EVERY_ANSWER, 'cache-control': 'no-store' }
const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
const XML_TYPE = { 'content-type': 'application/xml; charset=utf-8' }

const COUNTS = { available: 1, occupied: 0, reserved: 0, unknown: 0, outOfService: 0 }
const STATION = {
  connectors: [
    {
      type: 'Tesla',
      total: 1,
      availability: { current: COUNTS, perPowerLevel: [{ powerKW: 50, ...COUNTS }] },
    },
  ],
  chargingAvailability: ID,
}
const XML_COUNTS =
  '<available>1</available><occupied>0</occupied><reserved>0</reserved><unknown>0</unknown><outOfService>0</outOfService>'
const XML_ROW = `<perPowerLevel><power><powerKW>50.0</powerKW>${XML_COUNTS}</power></perPowerLevel>`

function xmlStation(rows: string): string {
  const availability = `<availability><current>${XML_COUNTS}</current>${rows}</availability>`
  const item = `<item><type>Tesla</type><total>1</total>${availability}</item>`
  return `<?xml version="1.0" encoding="UTF-8"?><response><chargingAvailability>${ID}</chargingAvailability><connectors>${item}</connectors></response>`
}

const JSON_200: Answer = {
  method: 'GET',
  path: JSON_PATH,
  status: 200,
  headers: { ...FOUND, ...JSON_TYPE },
  body: JSON.stringify(STATION),
}
const XML_200: Answer = {
  ...JSON_200,
  path: XML_PATH,
  headers: { ...FOUND, ...XML_TYPE },
  body: xmlStation(XML_ROW),
}

/** An error's answer with all that belongs to it. */
function refusal(code: string, path = JSON_PATH, method = 'GET'): Answer {
  const format = path.includes('.xml') ? 'xml' : 'json'
  const status = STATUS_OF_CODE[code] as number
  const headers = {
    ...REFUSED,
    ...(format === 'xml' ? XML_TYPE : JSON_TYPE),
    ...(status === 405 && { allow: 'GET, OPTIONS' }),
    ...((status === 429 || status === 503) && { 'retry-after': '5' }),
  }
  return { method, path, status, headers, body: renderError(new ServiceError(code as ErrorCode), format) }
}

function withHeaders(answer: Answer, headers: Answer['headers']): Answer {
  return { ...answer, headers: { ...answer.headers, ...headers } }
}

function asText(mediaType: string, example: unknown): string {
  return mediaType === 'application/json' ? JSON.stringify(example) : (example as string)
}

await t.test('every example of a body fits its schema', async (t) => {
  for (const { operationId, status, mediaType, media } of documentedBodies()) {
    const examples = examplesOf(media)
    t.not(examples.length, 0, `${operationId} ${status} ${mediaType} has an example`)
    for (const [name, example] of examples) {
      const faults = bodyProblems(mediaType, media.schema, asText(mediaType, example))
      t.strictSame(faults, [], `${operationId} ${status} ${mediaType} ${name}`)
    }
  }
})

await t.test('every example of a parameter fits its schema', async (t) => {
  for (const parameter of operations().flatMap((operation) => operation.parameters ?? [])) {
    const examples = examplesOf(parameter)
    t.not(examples.length, 0, `${parameter.name} has an example`)
    for (const [name, example] of examples) {
      const faults = bodyProblems('application/json', parameter.schema, JSON.stringify(example))
      t.strictSame(faults, [], `${parameter.name} ${name}`)
    }
  }
})

await t.test('every code is shown, under its own status and no other', async (t) => {
  const shown: Record<string, number> = {}
  for (const { status, mediaType, media } of documentedBodies()) {
    if (Number(status) < 400) continue
    for (const [name, example] of examplesOf(media)) {
      const text = asText(mediaType, example)
      const code = /"code":"(\w+)"|<code>(\w+)/.exec(text)?.slice(1).find(Boolean) ?? ''
      t.equal(code, name, 'an example is named after its code')
      t.equal(STATUS_OF_CODE[code], Number(status), `${code} in ${mediaType}`)
      if (mediaType === 'application/json') t.match(example, { httpStatusCode: status })
      shown[code] = Number(status)
    }
  }
  t.strictSame(shown, STATUS_OF_CODE)
})

await t.test('an answer that keeps the contract has no violations', async (t) => {
  const good: Record<string, Answer> = {
    'a station, JSON': JSON_200,
    'a station, XML': XML_200,
    'a station with two powers, XML': { ...XML_200, body: xmlStation(XML_ROW + XML_ROW) },
    'a connector without powers, XML': { ...XML_200, body: xmlStation('') },
    'an unknown id, JSON': { ...JSON_200, body: '{"connectors":[],"chargingAvailability":"1"}' },
    'an unknown id, XML': {
      ...XML_200,
      body: '<response><chargingAvailability>1</chargingAvailability><connectors></connectors></response>',
    },
    'members that upstream added': {
      ...JSON_200,
      body: JSON.stringify({ ...STATION, new: [{ member: 1 }] }),
    },
    'a coding': withHeaders(JSON_200, { 'content-encoding': 'gzip' }),
    'named origins': withHeaders(JSON_200, {
      vary: ['Accept-Encoding', 'Origin'],
      'access-control-allow-origin': 'https://map.example.org',
      'access-control-allow-credentials': 'true',
    }),
    'not modified': { ...JSON_200, status: 304, headers: FOUND, body: '' },
    preflight: {
      method: 'OPTIONS',
      path: JSON_PATH,
      status: 204,
      headers: {
        ...EVERY_ANSWER,
        'access-control-allow-methods': 'GET, OPTIONS',
        'access-control-max-age': '7200',
      },
      body: '',
    },
    'a wrong format': { ...refusal('InvalidParameter'), path: '/search/2/chargingAvailability.yaml' },
    'no such path': refusal('NotFound', '/search/3/chargingAvailability.xml'),
    'another method': refusal('MethodNotAllowed', XML_PATH, 'POST'),
    HEAD: { ...refusal('MethodNotAllowed', JSON_PATH, 'HEAD'), body: '' },
    health: {
      method: 'GET',
      path: '/healthz',
      status: 200,
      headers: { ...EVERY_ANSWER, ...JSON_TYPE },
      body: '{"status":"ok"}',
    },
    'the document': {
      method: 'GET',
      path: '/openapi.yaml',
      status: 200,
      headers: { ...EVERY_ANSWER, 'content-type': 'application/yaml; charset=utf-8' },
      body: 'openapi: 3.1.0',
    },
  }
  for (const [name, answer] of Object.entries(good)) t.strictSame(violations(answer), [], name)
  for (const code of Object.keys(STATUS_OF_CODE)) t.strictSame(violations(refusal(code)), [], `${code} JSON`)
  for (const code of Object.keys(STATUS_OF_CODE)) {
    if (code === 'RequestTimeout' || code === 'HeadersTooLarge') continue // given before the path is known
    t.strictSame(violations(refusal(code, XML_PATH)), [], `${code} XML`)
  }
})

await t.test('an answer that breaks the contract is told so', async (t) => {
  const throttled = refusal('TooManyRequests')
  const planted: Record<string, [Answer, RegExp]> = {
    'a status that is not documented': [{ ...JSON_200, status: 206 }, /206 is not documented/],
    'HEAD answered like GET': [{ ...JSON_200, method: 'HEAD', body: '' }, /200 is not documented/],
    'an unknown path answered': [{ ...JSON_200, path: '/search/2/poi.json' }, /200 is not documented/],
    'the wrong media type': [withHeaders(JSON_200, XML_TYPE), /Content-Type/],
    'the format that was not asked for': [{ ...XML_200, path: JSON_PATH }, /Content-Type/],
    'no charset': [withHeaders(JSON_200, { 'content-type': 'application/json' }), /Content-Type/],
    'no Tracking-ID': [withHeaders(JSON_200, { 'tracking-id': undefined }), /Tracking-ID: missing/],
    'no CORS headers on an error': [
      withHeaders(throttled, { 'access-control-expose-headers': undefined }),
      /Access-Control-Expose-Headers: missing/,
    ],
    'no Retry-After': [withHeaders(throttled, { 'retry-after': undefined }), /Retry-After: missing/],
    'Retry-After: 0': [withHeaders(throttled, { 'retry-after': '0' }), /Retry-After: must be >= 1/],
    'Retry-After as a date': [
      withHeaders(throttled, { 'retry-after': 'Thu, 01 Jan 2026 00:00:00 GMT' }),
      /Retry-After: must be integer/,
    ],
    'no Allow': [
      withHeaders(refusal('MethodNotAllowed', JSON_PATH, 'PUT'), { allow: undefined }),
      /Allow: missing/,
    ],
    'a weak ETag': [withHeaders(JSON_200, { etag: 'W/"1"' }), /ETag: must match pattern/],
    'an Age with a fraction': [withHeaders(JSON_200, { age: '1.5' }), /Age: must be integer/],
    'an error that may be kept': [withHeaders(throttled, { 'cache-control': 'no-cache' }), /Cache-Control/],
    'a body that is not JSON': [{ ...JSON_200, body: '<h1>Developer Over Qps</h1>' }, /^body: .*JSON/],
    'a body that is not XML': [{ ...XML_200, body: '<response>' }, /^body: /],
    'another root element': [{ ...XML_200, body: '<answer/>' }, /root element is answer, not response/],
    'no connectors': [
      { ...JSON_200, body: '{"chargingAvailability":"1"}' },
      /required property 'connectors'/,
    ],
    'a connector without type': [
      { ...JSON_200, body: '{"connectors":[{"availability":{}}],"chargingAvailability":"1"}' },
      /body\/connectors\/0: .*'type'/,
    ],
    'a count as text': [
      { ...JSON_200, body: JSON.stringify(STATION).replace('"total":1', '"total":"1"') },
      /body\/connectors\/0\/total: must be integer/,
    ],
    'a count in XML that is no number': [
      { ...XML_200, body: xmlStation(XML_ROW.replace('>1<', '>many<')) },
      /perPowerLevel\/0\/power\/available: must be integer/,
    ],
    'rows without <power>': [
      { ...XML_200, body: xmlStation(XML_ROW.replace(/<\/?power>/g, '')) },
      /perPowerLevel\/0: .*'power'/,
    ],
    'connectors without <item>': [
      { ...XML_200, body: xmlStation('').replace(/<(\/?)item>/g, '<$1connector>') },
      /body\/connectors: must be array/,
    ],
    'an error with a member too many': [
      { ...throttled, body: throttled.body.replace('{', '{"stack":"at …",') },
      /must NOT have additional properties/,
    ],
    'a code that is not documented': [
      { ...throttled, body: throttled.body.replace('TooManyRequests', 'SlowDown') },
      /body\/detailedError\/code/,
    ],
    'a code of another status': [
      { ...throttled, body: throttled.body.replace('TooManyRequests', 'NotFound') },
      /code NotFound does not belong to 429/,
    ],
    'another status in the body': [
      { ...throttled, body: throttled.body.replace('"429"', '"503"') },
      /httpStatusCode 503 in a 429/,
    ],
    'a 304 with a body': [{ ...JSON_200, status: 304 }, /there must be none/],
  }
  for (const [name, [answer, complaint]] of Object.entries(planted)) {
    t.match(violations(answer).join('\n'), complaint, name)
  }
})
