/*
 * Every assumption, confirmed and broken, against the simulator.
 */
import t from 'tap'
import type { Deviation } from '../../src/simulator/deviations.ts'
import { DEVIATIONS } from '../../src/simulator/deviations.ts'
import type { StationBody } from '../../src/simulator/model.ts'
import type { AssumptionId, Verdict } from '../../src/verify/assumptions.ts'
import { exitCodeOf } from '../../src/verify/report.ts'
import { counts, level } from '../simulator/support.ts'
import { ALL, exceptions, runAgainst, simulatorWith } from './setup.ts'

const NO = 'contradicted'

/** What each deviation of the simulator contradicts; all other assumptions stay confirmed. */
const BROKEN: Record<Exclude<Deviation, 'roll-out'>, Partial<Record<AssumptionId, Verdict>>> = {
  miscounted: { sums: NO },
  'connector-set-ignored': {
    'connector-set-drops': NO,
    'connector-set-case': NO,
    'connector-set-unknown': NO,
  },
  'connector-set-changes': { 'connector-set-untouched': NO },
  'connector-set-first': { 'connector-set-repeated': NO },
  'connector-set-any-case': { 'connector-set-case': NO },
  'connector-set-checked': { 'connector-set-case': NO, 'connector-set-unknown': NO },
  'power-levels': { 'power-filter': NO },
  'power-connectors': { 'power-filter': NO },
  'power-none': { 'power-filter': NO, 'power-closed': 'inconclusive', 'power-both': 'inconclusive' },
  'power-total': { 'power-filter': NO, 'power-closed': 'inconclusive', 'power-both': 'inconclusive' },
  'power-open': { 'power-closed': NO },
  'power-max-only': { 'power-both': NO },
  'power-min-over-max': { 'power-min-over-max': NO },
  'power-negative': { 'power-negative': NO },
  'power-text': { 'power-text': NO },
  'power-twice': { 'power-twice': NO },
  'unknown-id-404': { 'unknown-id': NO },
  'missing-id': { 'missing-id': NO },
  'any-ext': { 'wrong-ext': NO },
  post: { post: NO },
  head: { head: NO },
  'xml-order': { xml: NO },
  numbers: { numbers: NO },
  'tracking-id-new': { 'tracking-id-echoed': NO },
  'tracking-id-any': { 'tracking-id-replaced': NO },
  'no-cors': { cors: NO },
  cacheable: { 'cache-control': NO },
  etag: { etag: NO },
  'no-gzip': { gzip: NO },
}

await t.test('an upstream as documented confirms everything', async (t) => {
  const simulator = await simulatorWith(t, [])
  const run = await runAgainst(simulator)
  t.strictSame(exceptions(run), {})
  t.equal(run.findings['power-filter']?.reading, 'recount')
  t.strictSame(run.advice, [])
  t.equal(run.stopped, null)
  t.equal(exitCodeOf(run), 0)
  t.equal(run.calls, simulator.calls)
  t.ok(run.calls <= 45, `${run.calls} calls`)
})

await t.test('each deviation contradicts its own assumptions and no other', async (t) => {
  for (const [deviation, expected] of Object.entries(BROKEN) as [Deviation, object][]) {
    await t.test(`the deviation ${deviation} has these verdicts, within the budget`, async (t) => {
      const simulator = await simulatorWith(t, [deviation])
      const run = await runAgainst(simulator)
      t.strictSame(exceptions(run), expected)
      t.equal(exitCodeOf(run), 1)
      t.ok(simulator.calls <= 60 && run.calls === simulator.calls, `${simulator.calls} calls`)
    })
  }
  await t.test('many deviations at once stay within the budget', async (t) => {
    const compatible = (Object.keys(BROKEN) as Deviation[]).filter(
      (one) => !/^power-[lct]|changes|first/.test(one),
    )
    const simulator = await simulatorWith(t, compatible)
    const run = await runAgainst(simulator)
    t.equal(exitCodeOf(run), 1)
    t.ok(Object.keys(exceptions(run)).length > 20)
    t.ok(simulator.calls <= 60 && run.calls === simulator.calls, `${simulator.calls} calls`)
  })

  const broken = new Set(Object.values(BROKEN).flatMap((one) => Object.keys(one)))
  t.strictSame(
    ALL.filter((id) => !broken.has(id)),
    [],
    'every assumption is broken by one of them',
  )
  t.strictSame(
    DEVIATIONS.filter((one) => one !== 'roll-out' && !(one in BROKEN)),
    [],
  )
})

await t.test('the reading of a power bound', async (t) => {
  const readings: [Deviation[], configured: 'recount' | 'levels' | 'connectors', object][] = [
    [[], 'recount', { verdict: 'confirmed', reading: 'recount', advice: [] }],
    [[], 'levels', { verdict: NO, reading: 'recount', advice: ['POWER_FILTER=recount'] }],
    [['power-levels'], 'recount', { verdict: NO, reading: 'levels', advice: ['POWER_FILTER=levels'] }],
    [['power-levels'], 'levels', { verdict: 'confirmed', reading: 'levels', advice: [] }],
    [
      ['power-connectors'],
      'recount',
      { verdict: NO, reading: 'connectors', advice: ['POWER_FILTER=connectors'] },
    ],
    [['power-connectors'], 'connectors', { verdict: 'confirmed', reading: 'connectors', advice: [] }],
    [['power-none'], 'connectors', { verdict: NO, reading: 'none', advice: [] }],
    [['power-total'], 'recount', { verdict: NO, reading: null, advice: [] }],
  ]
  for (const [deviations, powerFilter, expected] of readings) {
    const upstream = deviations[0] ?? 'recount'
    await t.test(`is judged for upstream ${upstream} and POWER_FILTER=${powerFilter}`, async (t) => {
      const run = await runAgainst(await simulatorWith(t, deviations), { powerFilter })
      const { verdict, reading } = run.findings['power-filter'] ?? {}
      t.strictSame({ verdict, reading, advice: run.advice }, expected)
    })
  }
})

/** A station with one connector for each list of powers. */
const stationOf =
  (...connectors: number[][]) =>
  (id: string): StationBody | null => ({
    connectors: connectors.map((powers, at) => ({
      type: `Type${at}`,
      total: powers.length * 2,
      availability: {
        current: counts(powers.length, powers.length),
        perPowerLevel: powers.map((power) => level(power, 1, 1)),
      },
    })),
    chargingAvailability: id,
  })

await t.test('a station that cannot tell an assumption from its opposite is inconclusive', async (t) => {
  const cases: [what: string, connectors: number[][], inconclusive: AssumptionId[]][] = [
    [
      'without connectors',
      [],
      [
        'sums',
        'connector-set-drops',
        'connector-set-untouched',
        'connector-set-repeated',
        'connector-set-case',
        'connector-set-unknown',
        'power-filter',
        'power-closed',
        'power-both',
        'xml',
        'numbers',
      ],
    ],
    [
      'with one level',
      [[22.5]],
      [
        'connector-set-drops',
        'connector-set-untouched',
        'connector-set-repeated',
        'power-filter',
        'power-both',
        'numbers',
      ],
    ],
    ['with a level for each of two connectors', [[22], [50]], ['power-filter', 'power-both']],
    ['without levels', [[], []], ['sums', 'power-filter', 'power-closed', 'power-both', 'numbers']],
  ]
  for (const [what, connectors, inconclusive] of cases) {
    await t.test(`a station ${what}`, async (t) => {
      const stations = (id: string) => (id.startsWith('unknown') ? null : stationOf(...connectors)(id))
      const run = await runAgainst(await simulatorWith(t, [], { stations }), { stations: ['one'] })
      t.strictSame(exceptions(run), Object.fromEntries(inconclusive.map((id) => [id, 'inconclusive'])))
      t.match(run.findings['power-filter'], { reading: null, seen: /name a station with/ })
      t.equal(exitCodeOf(run), 0)
    })
  }

  await t.test('several stations are put together', async (t) => {
    const place: Record<string, ReturnType<typeof stationOf>> = {
      split: stationOf([22, 50]),
      apart: stationOf([11], [50]),
    }
    const stations = (id: string) => place[id]?.(id) ?? null
    const simulator = await simulatorWith(t, ['power-connectors'], { stations })
    const run = await runAgainst(simulator, { stations: ['split', 'apart'] })
    t.match(run.findings['power-filter'], { verdict: NO, reading: 'connectors' })
  })
})

await t.test('data that change between calls contradict nothing', async (t) => {
  await t.test('two versions by turns, call by call', async (t) => {
    const simulator = await simulatorWith(t, ['roll-out'])
    const run = await runAgainst(simulator)
    t.strictSame(
      Object.values(exceptions(run)).filter((verdict) => verdict !== 'inconclusive'),
      [],
    )
    t.not(Object.keys(exceptions(run)).length, 0, 'some comparisons are inconclusive')
    t.equal(exitCodeOf(run), 0)
    t.ok(simulator.calls <= 60)
  })

  for (let seed = 1; seed <= 30; seed++) {
    await t.test(`two versions at random, run ${seed}`, async (t) => {
      let state = seed * 7_919
      const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
      const simulator = await simulatorWith(t, [], { random })
      simulator.setFaults({ deviation: 'roll-out', probability: 0.5 })
      const run = await runAgainst(simulator)
      t.strictSame(
        Object.entries(exceptions(run)).filter(([, verdict]) => verdict === NO),
        [],
      )
    })
  }

  await t.test('a station whose occupancy changes at every call is inconclusive', async (t) => {
    let call = 0
    const stations = (id: string): StationBody | null => {
      if (id.startsWith('unknown')) return null
      const counted = counts(++call, 1_000 - call)
      const row = { powerKW: 22, ...counted }
      return {
        connectors: [{ type: 'A', total: 1_000, availability: { current: counted, perPowerLevel: [row] } }],
        chargingAvailability: id,
      }
    }
    const run = await runAgainst(await simulatorWith(t, [], { stations }), { stations: ['one'] })
    t.match(run.findings['xml'], { verdict: 'inconclusive', seen: /differed in all tries/ })
    t.equal(exitCodeOf(run), 0)
  })

  await t.test('a single change is tried again', async (t) => {
    let call = 0
    const stations = (id: string): StationBody | null => {
      const all = stationOf([22, 50, 150], [11])(id) as StationBody
      const [first, ...others] = all.connectors
      const current = counts(++call > 3 ? 3 : 2, call > 3 ? 3 : 4)
      const changed = { ...first, availability: { ...first?.availability, current } }
      return id.startsWith('unknown')
        ? null
        : { ...all, connectors: [changed as StationBody['connectors'][number], ...others] }
    }
    const run = await runAgainst(await simulatorWith(t, ['miscounted'], { stations }), { stations: ['one'] })
    t.equal(run.findings.xml?.verdict, 'confirmed')
    t.equal(run.findings['power-filter']?.verdict, 'confirmed')
  })
})
