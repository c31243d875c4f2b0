import t from 'tap'
import { errorResponseProblems } from '../support/error-response.ts'
import { expectedJson, expectedXml } from '../support/expected.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { sendJson } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'
import { problemsByCase } from './cases.ts'

const MISSING = [
  '',
  'chargingAvailability=',
  'chargingAvailability',
  'ChargingAvailability=a',
  'key=k&minPowerKW=22',
]
const INVALID = [
  'chargingAvailability=a&chargingAvailability=a',
  'chargingAvailability=a&chargingAvailability=',
  `chargingAvailability=${'x'.repeat(129)}`,
  'chargingAvailability=a%00',
  'chargingAvailability=a%0Ab',
  'chargingAvailability=a%7F',
  'chargingAvailability=%ff',
  'chargingAvailability=%zz',
  'chargingAvailability=a&note=%c3%28',
  'chargingAvailability=a&connectorSet=A-B',
  'chargingAvailability=a&connectorSet=A%20',
  `chargingAvailability=a&connectorSet=${'x'.repeat(65)}`,
  'chargingAvailability=a&minPowerKW=',
  'chargingAvailability=a&minPowerKW=-1',
  'chargingAvailability=a&minPowerKW=0x10',
  'chargingAvailability=a&minPowerKW=1e400',
  'chargingAvailability=a&minPowerKW=NaN',
  'chargingAvailability=a&minPowerKW=Infinity',
  'chargingAvailability=a&minPowerKW=22,2',
  'chargingAvailability=a&minPowerKW=1&minPowerKW=1',
  'chargingAvailability=a&maxPowerKW=.',
  'chargingAvailability=a&maxPowerKW=+1',
  'chargingAvailability=a&minPowerKW=50&maxPowerKW=22',
]

await t.test('missing and invalid parameters', async (t) => {
  const { get, upstream } = await startService(t)
  const problems = (queries: readonly string[], code: string) => {
    const cases = queries.flatMap((query) => (['json', 'xml'] as const).map((format) => ({ query, format })))
    return problemsByCase(cases, async ({ query, format }) => {
      const response = await get(query, { ext: format })
      const name = `${query.slice(0, 60)} in ${format}`
      return [name, errorResponseProblems(response, { status: 400, code, format })]
    })
  }

  await t.test(
    'a query without an id is MissingParameter, with the sentences of the reference',
    async (t) => {
      t.strictSame(await problems(MISSING, 'MissingParameter'), {})
      const { text } = await get('')
      t.match(JSON.parse(text), {
        message: /^Missing parameter 'chargingAvailability'$/,
        detailedError: { message: /^Missing required parameter 'chargingAvailability'\.$/ },
      })
    },
  )

  await t.test('a parameter that breaks its rule is InvalidParameter', async (t) => {
    t.strictSame(await problems(INVALID, 'InvalidParameter'), {})
  })

  t.equal(upstream.calls.length, 0, 'no upstream call is made')
})

await t.test('an id of any characters is sent upstream unchanged, in one call', async (t) => {
  const { get, upstream } = await startService(t)
  const ids = [
    '1',
    '840089001212461',
    'a/b',
    'a,b',
    'a|b:c',
    '../x',
    'a&key=b',
    'é',
    '漢字',
    '😀',
    'a b',
    'a?b#c',
    '%41',
    'a;b',
    '"',
    '<',
    '__proto__',
    'constructor',
    'x'.repeat(128),
  ]
  const received = await Promise.all(
    ids.map(async (id) => {
      const { status, text } = await get(`chargingAvailability=${encodeURIComponent(id)}`)
      return { id, status, text, calls: upstream.callsFor(id) }
    }),
  )
  t.strictSame(
    received,
    ids.map((id) => ({ id, status: 200, text: expectedJson(referenceStation(id)), calls: 1 })),
  )
  t.match((await get('chargingAvailability=a+b')).headers['cache-status'], '; hit', '+ is a space')
})

const ALL = station('s', connector('A', level(22.2), level(50)), connector('B', level(22)), connector('C'))
const A_AND_B = station('s', connector('A', level(22.2), level(50)), connector('B', level(22)))

/** Stations, and queries whose response they are. */
const SPELLINGS: Record<string, [expected: ReturnType<typeof station>, queries: string[]]> = {
  'a set of connector types is the same in any order, list or repetition': [
    A_AND_B,
    [
      'chargingAvailability=s&connectorSet=A,B',
      'chargingAvailability=s&connectorSet=B,A',
      'connectorSet=A%2CB&chargingAvailability=s',
      'connectorSet=A&chargingAvailability=s&connectorSet=B',
      'connectorSet=A,,B,&chargingAvailability=s',
      'connectorSet=B&connectorSet=A,B&chargingAvailability=s&key=k',
      'connectorSet=A,B,Unheard&chargingAvailability=s&unknown=1&unknown=2',
      '&chargingAvailability=s&&connectorSet=%41,%42&',
    ],
  ],
  'a power is the same in any decimal notation, and a bound drops connectors without powers': [
    A_AND_B,
    [
      'chargingAvailability=s&minPowerKW=22',
      'chargingAvailability=s&minPowerKW=22.0',
      'chargingAvailability=s&minPowerKW=022.',
      'chargingAvailability=s&minPowerKW=2.2e1',
      'chargingAvailability=s&minPowerKW=2.2E%2B1',
      'minPowerKW=22&maxPowerKW=50&chargingAvailability=%73',
      'chargingAvailability=s&minPowerKW=.5&maxPowerKW=1e%2B21',
      'chargingAvailability=s&minPowerKW=0',
    ],
  ],
  'power bounds are inclusive and combine with a set of types': [
    station('s', connector('A', level(22.2))),
    [
      'chargingAvailability=s&minPowerKW=22.1&maxPowerKW=49.9',
      'chargingAvailability=s&minPowerKW=22.2&maxPowerKW=22.2',
      'chargingAvailability=s&connectorSet=A&maxPowerKW=30',
    ],
  ],
  'an empty set and parameters of other names do not filter': [
    ALL,
    [
      'chargingAvailability=s',
      'chargingAvailability=s&connectorSet=',
      'chargingAvailability=s&connectorSet=,,',
      'chargingAvailability=s&ConnectorSet=A&minpowerkw=1',
      'chargingAvailability=s&x;minPowerKW=50',
    ],
  ],
  'a filter that matches nothing leaves no connectors': [
    station('s'),
    ['chargingAvailability=s&connectorSet=a', 'chargingAvailability=s&minPowerKW=50.1'],
  ],
}

await t.test('all spellings of a filter have the same bytes and share one call', async (t) => {
  const script: Script = ({ id }, response) => sendJson(response, { ...ALL, chargingAvailability: id })
  const { get, upstream } = await startService(t, { script })
  for (const [title, [expected, queries]] of Object.entries(SPELLINGS)) {
    await t.test(title, async (t) => {
      const bodies = async (ext: string) =>
        Promise.all(queries.map(async (query) => [query, (await get(query, { ext })).text]))
      t.strictSame(
        await bodies('json'),
        queries.map((query) => [query, expectedJson(expected)]),
      )
      t.strictSame(
        await bodies('xml'),
        queries.map((query) => [query, expectedXml(expected)]),
      )
    })
  }
  t.equal(upstream.calls.length, 1)
})
