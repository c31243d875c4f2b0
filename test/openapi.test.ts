import t from 'tap'
import type { ErrorCode } from '../src/errors.ts'
import { ServiceError } from '../src/errors.ts'
import { renderError } from '../src/http/error-body.ts'
import type { Answer } from './support/contract.ts'
import { bodyProblems, documentedBodies, examplesOf, operations, violations } from './support/contract.ts'

/** Codes are a contract: this table is written by hand and not derived from the code. */
const STATUS_OF_CODE: Record<string, number> = {
  MissingParameter: 400,
  InvalidParameter: 400,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  RequestTimeout: 408,
  PayloadTooLarge: 413,
  UnsupportedMediaType: 415,
  TooManyRequests: 429,
  HeadersTooLarge: 431,
  InternalError: 500,
  UpstreamRefused: 502,
  UpstreamFailed: 502,
  UpstreamUnavailable: 503,
  QuotaExhausted: 503,
  TooManyStreams: 503,
  UpstreamTimeout: 504,
}

const ID = '75502858-a491-36fe-7128-23d400153b86'
const JSON_PATH = `/search/2/chargingAvailability.json?chargingAvailability=${ID}`
const XML_PATH = `/search/2/chargingAvailability.xml?chargingAvailability=${ID}`

const COMMON_HEADERS = {
  'tracking-id': '9ac68072-c7a4-11e8-a8d5-f2801f1b9fd1',
  vary: 'Accept-Encoding',
  'x-content-type-options': 'nosniff',
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Tracking-ID, Retry-After, Age, Cache-Status, ETag',
}
const ANSWER_HEADERS = {
  ...COMMON_HEADERS,
  'cache-control': 'no-cache',
  etag: '"3vAZq0yG2mT1"',
  age: '12',
  'cache-status': 'ev-availability-proxy; hit; ttl=17',
}
const ERROR_HEADERS = { ...COMMON_HEADERS, 'cache-control': 'no-store' }
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
  headers: { ...ANSWER_HEADERS, ...JSON_TYPE },
  body: JSON.stringify(STATION),
}
const XML_200: Answer = {
  ...JSON_200,
  path: XML_PATH,
  headers: { ...ANSWER_HEADERS, ...XML_TYPE },
  body: xmlStation(XML_ROW),
}

/** An error response that keeps the contract. */
function errorResponse(code: string, path = JSON_PATH, method = 'GET'): Answer {
  const format = path.includes('.xml') ? 'xml' : 'json'
  const status = STATUS_OF_CODE[code] as number
  const headers = {
    ...ERROR_HEADERS,
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

await t.test('every documented body has examples, and each fits its schema', async (t) => {
  const bodies = [...documentedBodies()].map((it) => ({ ...it, examples: examplesOf(it.media) }))
  t.strictSame(
    bodies.filter(({ examples }) => examples.length === 0),
    [],
  )
  const problems = bodies.flatMap(({ operationId, status, mediaType, media, examples }) =>
    examples.flatMap(([name, example]) =>
      bodyProblems(mediaType, media.schema, asText(mediaType, example)).map(
        (problem) => `${operationId} ${status} ${mediaType} ${name}: ${problem}`,
      ),
    ),
  )
  t.strictSame(problems, [])
})

await t.test('every parameter has examples, and each fits its schema', async (t) => {
  const parameters = operations()
    .flatMap((operation) => operation.parameters ?? [])
    .map((parameter) => ({ parameter, examples: examplesOf(parameter) }))
  t.strictSame(
    parameters.filter(({ examples }) => examples.length === 0),
    [],
  )
  const problems = parameters.flatMap(({ parameter, examples }) =>
    examples.flatMap(([name, example]) =>
      bodyProblems('application/json', parameter.schema, JSON.stringify(example)).map(
        (problem) => `${parameter.name} ${name}: ${problem}`,
      ),
    ),
  )
  t.strictSame(problems, [])
})

await t.test('every error code has an example of its name, under its own status and no other', async (t) => {
  const examples = [...documentedBodies()]
    .filter(({ status }) => Number(status) >= 400)
    .flatMap(({ status, mediaType, media }) =>
      examplesOf(media).map(([name, example]) => {
        const text = asText(mediaType, example)
        const code = /"code":"(\w+)"|<code>(\w+)/.exec(text)?.slice(1).find(Boolean) ?? ''
        const inBody = mediaType === 'application/json' ? JSON.parse(text).httpStatusCode : status
        return { name, code, status: Number(status), inBody: Number(inBody) }
      }),
    )
  t.strictSame(
    examples.filter(({ name, code, status, inBody }) => {
      return code !== name || STATUS_OF_CODE[code] !== status || inBody !== status
    }),
    [],
  )
  t.strictSame(Object.fromEntries(examples.map(({ code, status }) => [code, status])), STATUS_OF_CODE)
})

await t.test('a response that keeps the contract has no violations', async (t) => {
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
    'not modified': { ...JSON_200, status: 304, headers: ANSWER_HEADERS, body: '' },
    preflight: {
      method: 'OPTIONS',
      path: JSON_PATH,
      status: 204,
      headers: {
        ...COMMON_HEADERS,
        'access-control-allow-methods': 'GET, OPTIONS',
        'access-control-max-age': '7200',
      },
      body: '',
    },
    'an unknown format': {
      ...errorResponse('InvalidParameter'),
      path: '/search/2/chargingAvailability.yaml',
    },
    'no such path': errorResponse('NotFound', '/search/3/chargingAvailability.xml'),
    'another method': errorResponse('MethodNotAllowed', XML_PATH, 'POST'),
    HEAD: { ...errorResponse('MethodNotAllowed', JSON_PATH, 'HEAD'), body: '' },
    health: {
      method: 'GET',
      path: '/healthz',
      status: 200,
      headers: { ...COMMON_HEADERS, ...JSON_TYPE },
      body: '{"status":"ok"}',
    },
    'the document': {
      method: 'GET',
      path: '/openapi.yaml',
      status: 200,
      headers: { ...COMMON_HEADERS, 'content-type': 'application/yaml; charset=utf-8' },
      body: 'openapi: 3.1.0',
    },
  }
  const ofBatch = ['PayloadTooLarge', 'UnsupportedMediaType']
  good['TooManyStreams'] = errorResponse('TooManyStreams', '/events')
  for (const code of ofBatch) good[code] = errorResponse(code, '/search/2/batch/sync.json', 'POST')
  const codes = Object.keys(STATUS_OF_CODE).filter((code) => ![...ofBatch, 'TooManyStreams'].includes(code))
  for (const code of codes) {
    good[`${code} in JSON`] = errorResponse(code)
    // These two are sent before the path is known, so never in XML.
    if (code !== 'RequestTimeout' && code !== 'HeadersTooLarge') {
      good[`${code} in XML`] = errorResponse(code, XML_PATH)
    }
  }
  const broken = Object.entries(good).map(([name, response]) => [name, violations(response)] as const)
  t.strictSame(
    broken.filter(([, problems]) => problems.length > 0),
    [],
  )
})

await t.test('a response that breaks the contract has a violation that describes it', async (t) => {
  const throttled = errorResponse('TooManyRequests')
  const planted: Record<string, [Answer, RegExp]> = {
    'a status that is not documented': [{ ...JSON_200, status: 206 }, /206 is not documented/],
    'HEAD answered like GET': [{ ...JSON_200, method: 'HEAD', body: '' }, /200 is not documented/],
    'an unknown path answered': [{ ...JSON_200, path: '/search/2/poi.json' }, /200 is not documented/],
    'the wrong media type': [withHeaders(JSON_200, XML_TYPE), /Content-Type/],
    'the other format': [{ ...XML_200, path: JSON_PATH }, /Content-Type/],
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
      withHeaders(errorResponse('MethodNotAllowed', JSON_PATH, 'PUT'), { allow: undefined }),
      /Allow: missing/,
    ],
    'a weak ETag': [withHeaders(JSON_200, { etag: 'W/"1"' }), /ETag: must match pattern/],
    'an Age with a fraction': [withHeaders(JSON_200, { age: '1.5' }), /Age: must be integer/],
    'an error that may be stored': [withHeaders(throttled, { 'cache-control': 'no-cache' }), /Cache-Control/],
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
  const missed = Object.entries(planted).flatMap(([name, [response, violation]]) => {
    const found = violations(response).join('\n')
    return violation.test(found) ? [] : [`${name}: ${found}`]
  })
  t.strictSame(missed, [])
})
