import { deepStrictEqual } from 'node:assert'
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import * as fc from 'fast-check'
import type { Test } from 'tap'
import t from 'tap'
import type { Availability } from '../../src/availability/model.ts'
import type { Filter } from '../../src/availability/query.ts'
import type { Deviation } from '../../src/simulator/deviations.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { CONNECTOR_TYPES } from '../../src/simulator/stations.ts'
import { anyFilter, anyStation, NO_FILTER } from '../support/arbitraries.ts'
import { request, pathFor } from '../support/request.ts'
import { startProxy } from '../support/proxy.ts'
import { sendJson } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'

/*
 * The simulator is an independent oracle: it filters as upstream does, and shares no code with the proxy, which filters
 * its cached answers. Both must give the same answer to every query.
 */

const NOON = Date.UTC(2026, 0, 15, 12)
const LONG = { CACHE_TTL: '1h', CACHE_EMPTY_TTL: '1h', CACHE_MAX_TTL: '1h' }
const SEED = 20_260_115

/** A simulator whose stations do not change, so that two answers can be compared. */
async function simulator(t: Test, deviations: readonly Deviation[] = []) {
  const started = await startSimulator({ now: () => NOON, deviations })
  t.teardown(() => started.close())
  return started
}

const TYPES = Object.keys(CONNECTOR_TYPES)
const POWERS = [...new Set(Object.values(CONNECTOR_TYPES).flat())]

const anyName = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...TYPES) },
  { weight: 1, arbitrary: fc.constantFrom('NoSuchType', 'tesla', 'IEC62196Type2', '') },
)

/** One, some or all of the types, as a list, repeated or both, with empty and repeated items. */
const anyConnectorSet = fc
  .array(fc.array(anyName, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 })
  .chain((lists) =>
    fc.constantFrom(',', '%2C').map((comma) => lists.map((list) => `connectorSet=${list.join(comma)}`)),
  )

/** Numbers equal to, just below and just above existing powers, in every notation. */
const anyPower = fc
  .tuple(
    fc.constantFrom(...POWERS, 0, 1_000),
    fc.constantFrom(-1, -1e-9, 0, 0, 0, 1e-9, 0.05, 1),
    fc.constantFrom(
      String,
      (value: number) => value.toExponential(),
      (value: number) => value.toFixed(12),
    ),
  )
  .map(([power, offset, spell]) => spell(Math.max(0, power + offset)))

const anyBounds = fc
  .tuple(fc.option(anyPower, { nil: null }), fc.option(anyPower, { nil: null }))
  .map(([one, other]) => {
    const swapped = one !== null && other !== null && Number(one) > Number(other)
    const [low, high] = swapped ? [other, one] : [one, other]
    return [
      ...(low === null ? [] : [`minPowerKW=${encodeURIComponent(low)}`]),
      ...(high === null ? [] : [`maxPowerKW=${encodeURIComponent(high)}`]),
    ]
  })

/** Filter parameters in any order, with parameters that are ignored. */
const anyQuery = fc
  .tuple(fc.option(anyConnectorSet, { nil: [] }), anyBounds, fc.subarray(['key=client-key', 'language=en']))
  .chain((parts) => fc.shuffledSubarray(parts.flat(), { minLength: parts.flat().length }))

const xml = new XMLParser({
  ignoreAttributes: false,
  ignoreDeclaration: true,
  parseTagValue: false,
  isArray: (name) => name === 'item' || name === 'perPowerLevel',
})

/** Some random values, the same in every run. */
function sample<T>(arbitrary: fc.Arbitrary<T>, numRuns: number): T[] {
  return fc.sample(arbitrary, { seed: SEED, numRuns })
}

await t.test('the proxy answers every filter of every station as upstream does', async (t) => {
  const STATIONS = 40
  const QUERIES = 24
  const upstream = await simulator(t)
  const oracle = await simulator(t)
  const proxy = await startProxy(upstream.url, LONG)
  t.teardown(() => proxy.stop())

  const known = sample(fc.uuid(), STATIONS - 3)
  const ids = [...known, '1', 'unknown-station', 'Zürich & <Söhne>|é ⚡']
  const queries = sample(anyQuery, STATIONS * QUERIES)
  const bodies = new Set<string>()
  const differences: string[] = []
  let compared = 0
  for (const [i, id] of ids.entries()) {
    for (const filters of [[], ...queries.slice(i * QUERIES, (i + 1) * QUERIES)]) {
      const parts = [`chargingAvailability=${encodeURIComponent(id)}`, ...filters]
      const query = (compared % 3 === 0 ? parts : parts.toReversed()).join('&')
      const ext = compared % 2 === 0 ? 'json' : 'xml'
      const [ours, theirs] = await Promise.all(
        [proxy.url, oracle.url].map((url) => request(url, pathFor(query, ext))),
      )
      if (ours === undefined || theirs === undefined) throw new Error('expected two responses')
      const same =
        ours.status === 200 &&
        theirs.status === 200 &&
        (ext === 'json' ? ours.text === theirs.text : isSameXml(ours.text, theirs.text))
      if (!same) differences.push(`${ext} ${query}: ${ours.text} instead of ${theirs.text}`)
      bodies.add(ours.text)
      compared++
    }
  }
  t.strictSame(differences, [])
  t.equal(compared, STATIONS * (QUERIES + 1))
  t.ok(bodies.size > 350, `${bodies.size} distinct answers`)

  await t.test('each station costs one call, without a filter', async (t) => {
    t.equal(upstream.calls, STATIONS)
    t.strictSame(
      upstream.requests.map(({ parameters }) => parameters.get('chargingAvailability')),
      ids,
    )
    t.strictSame(
      upstream.requests.map(({ path, parameters, hadKey }) => [path, [...parameters.keys()], hadKey]),
      ids.map(() => ['/search/2/chargingAvailability.json', ['chargingAvailability'], true]),
    )
  })

  await t.test('the oracle receives every query with its filter', async (t) => {
    t.equal(oracle.calls, compared)
    t.ok(oracle.requests.some(({ parameters }) => parameters.has('connectorSet')))
  })
})

function isSameXml(ours: string, theirs: string): boolean {
  try {
    deepStrictEqual(xml.parse(ours), xml.parse(theirs))
    return XMLValidator.validate(ours) === true
  } catch {
    return false
  }
}

function codeOf(text: string): string | undefined {
  return (JSON.parse(text) as { detailedError?: { code: string } }).detailedError?.code
}

await t.test('an invalid query gets the same error from the proxy and from upstream', async (t) => {
  const upstream = await simulator(t)
  const proxy = await startProxy(upstream.url, LONG)
  t.teardown(() => proxy.stop())
  const invalid = [
    '',
    'chargingAvailability=',
    ...[
      'minPowerKW=-1',
      'maxPowerKW=x',
      'minPowerKW=',
      'minPowerKW=1e999',
      'minPowerKW=0x10',
      'minPowerKW=22,2',
      'minPowerKW=50&maxPowerKW=49.9',
      'minPowerKW=1&minPowerKW=1',
      'connectorSet=Type-2',
      'connectorSet=Tesla;Chademo',
    ].map((filter) => `chargingAvailability=a&${filter}`),
  ]
  const errorsOf = (url: string) =>
    Promise.all(
      invalid.map(async (query) => {
        const { status, text } = await request(url, pathFor(query))
        return [query, status, codeOf(text)]
      }),
    )
  const [ours, theirs] = [await errorsOf(proxy.url), await errorsOf(upstream.url)]
  t.strictSame(ours, theirs)
  t.ok(ours.every(([, status]) => status === 400))
  t.equal(upstream.calls, invalid.length, 'the proxy made no call')
})

/** The filter of the reference, row by row, for any shape; written independently of the filter of the proxy. */
function naivelyFiltered(answer: Availability, { types, minPowerKW, maxPowerKW }: Filter): unknown {
  const bounded = minPowerKW !== null || maxPowerKW !== null
  const left: unknown[] = []
  for (const connector of structuredClone(answer.connectors) as unknown as Loose[]) {
    if (types !== null && !types.has(connector['type'] as string)) continue
    if (!bounded) {
      left.push(connector)
      continue
    }
    const { availability } = connector as { availability: Loose }
    const rows: Loose[] = []
    for (const row of Array.isArray(availability['perPowerLevel']) ? availability['perPowerLevel'] : []) {
      const power = (row as Loose | null)?.['powerKW']
      if (typeof power !== 'number') continue
      if (minPowerKW !== null && power < minPowerKW) continue
      if (maxPowerKW !== null && power > maxPowerKW) continue
      rows.push(row as Loose)
    }
    if (rows.length === 0) continue
    const received = availability['current']
    const current: Loose =
      typeof received === 'object' && received !== null && !Array.isArray(received) ? { ...received } : {}
    let total = 0
    for (const name of ['available', 'occupied', 'reserved', 'unknown', 'outOfService']) {
      let points = 0
      for (const row of rows) points += typeof row[name] === 'number' ? row[name] : 0
      current[name] = points
      total += points
    }
    left.push({ ...connector, total, availability: { ...availability, current, perPowerLevel: rows } })
  }
  return { ...answer, connectors: left }
}

type Loose = Record<string, unknown>

function spelled({ types, minPowerKW, maxPowerKW }: Filter): string {
  return [
    ...(types === null ? [] : [`connectorSet=${[...types].join(',')}`]),
    ...(minPowerKW === null ? [] : [`minPowerKW=${minPowerKW}`]),
    ...(maxPowerKW === null ? [] : [`maxPowerKW=${maxPowerKW}`]),
  ].join('&')
}

/** What the XML of any answer shows: the types, and the number of rows of each. */
function outlineOf(connectors: unknown): unknown[] {
  return (connectors as Loose[]).map(({ type, availability }) => {
    const rows = (availability as Loose)['perPowerLevel']
    return [type, Array.isArray(rows) ? rows.length : 'no rows']
  })
}

await t.test(
  'a station of any shape keeps everything that the filter leaves, also unknown members',
  async (t) => {
    const stations = new Map<string, unknown>()
    const service = await startService(t, {
      oddShapes: true,
      script: ({ id }, response) => sendJson(response, stations.get(id)),
      env: LONG,
    })
    let requested = 0
    await fc.assert(
      fc.asyncProperty(
        anyStation,
        fc.array(anyFilter, { minLength: 1, maxLength: 3 }),
        async (station, filters) => {
          const id = `station-${++requested}`
          const availability = { ...station, chargingAvailability: id }
          stations.set(id, availability)
          for (const filter of [NO_FILTER, ...filters]) {
            const query = `chargingAvailability=${id}&${spelled(filter)}`
            const expected = naivelyFiltered(availability, filter) as Loose
            const json = await service.get(query)
            deepStrictEqual(JSON.parse(json.text), expected)
            const { text, headers } = await service.get(query, { ext: 'xml' })
            deepStrictEqual(XMLValidator.validate(text), true)
            deepStrictEqual(headers['content-type'], 'application/xml; charset=utf-8')
            const { response } = xml.parse(text) as { response: { connectors: '' | { item: Loose[] } } }
            const items = response.connectors === '' ? [] : response.connectors.item
            deepStrictEqual(
              items.map(({ type }) => type),
              (expected['connectors'] as Loose[]).map(({ type }) => type),
            )
            const isBounded = filter.minPowerKW !== null || filter.maxPowerKW !== null
            if (isBounded) deepStrictEqual(outlineOf(items), outlineOf(expected['connectors']))
          }
        },
      ),
      { seed: SEED, numRuns: 150 },
    )
    t.equal(service.upstream.calls.length, requested, 'one call per station')
    t.ok(requested >= 150)
  },
)

for (const powerFilter of ['levels', 'connectors'] as const) {
  await t.test(
    `the proxy filters by POWER_FILTER=${powerFilter} as an upstream of that reading does`,
    async (t) => {
      const upstream = await simulator(t)
      const oracle = await simulator(t, [`power-${powerFilter}`])
      const proxy = await startProxy(upstream.url, { ...LONG, POWER_FILTER: powerFilter })
      t.teardown(() => proxy.stop())
      const ids = sample(fc.uuid(), 20)
      const queries = sample(anyQuery, 200)
      const differences: string[] = []
      for (const [i, filters] of queries.entries()) {
        const ext = i % 2 === 0 ? 'json' : 'xml'
        const path = pathFor([`chargingAvailability=${ids[i % ids.length]}`, ...filters].join('&'), ext)
        const answers = [await request(proxy.url, path), await request(oracle.url, path)] as const
        const [ours, theirs] = answers.map(({ text }) => text) as [string, string]
        const isSame = ext === 'json' ? ours === theirs : isSameXml(ours, theirs)
        if (!isSame) differences.push(`${path}: ${ours} instead of ${theirs}`)
      }
      t.strictSame(differences, [])
    },
  )
}
