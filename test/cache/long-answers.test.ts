import { deepStrictEqual } from 'node:assert'
import * as fc from 'fast-check'
import t from 'tap'
import { POWER_FILTERS } from '../../src/availability/filter.ts'
import type { Availability } from '../../src/availability/model.ts'
import { Answer, MAX_VARIANTS_BYTES } from '../../src/cache/answer.ts'
import { anyFilter, anyStation, NO_FILTER } from '../support/arbitraries.ts'
import { connector, level, station } from '../support/stations.ts'

/* Answers whose parsed form stays in memory for a while, and whose renderings are bounded by their bytes. */

/** Long enough for the parsed form to be kept. */
const NOTE = 'n'.repeat(70_000)

await t.test('renderings are the same whether the parsed form is still in memory or not', async (t) => {
  /** As JSON.parse takes `1e999`, which is no number in any rendering. */
  const outOfRange = (value: Availability): Availability => {
    const connectors = value.connectors.map((one) => ({
      ...one,
      total: Number.POSITIVE_INFINITY,
      availability: {
        current: { available: Number.NEGATIVE_INFINITY, faulted: Number.POSITIVE_INFINITY },
        perPowerLevel: [
          { ...level(22, 2, 1), faulted: 3 },
          { powerKW: Number.POSITIVE_INFINITY, available: Number.POSITIVE_INFINITY, faulted: 1, rank: -0 },
        ],
      },
    }))
    return { ...value, connectors, odd: [Number.POSITIVE_INFINITY, -0] }
  }
  const anyAnswer = fc.oneof(anyStation, anyStation.map(outOfRange))
  fc.assert(
    fc.property(
      anyAnswer,
      fc.array(anyFilter, { minLength: 1, maxLength: 4 }),
      fc.constantFrom(...POWER_FILTERS),
      (availability, filters, powerFilter) => {
        const parsed = new Answer({ ...availability, NOTE }, powerFilter)
        const textsOf = (answer: Answer) =>
          filters.flatMap((filter) =>
            (['json', 'xml'] as const).map((format) => answer.render(filter, format, false).body),
          )
        const again = new Answer(JSON.parse(parsed.json) as Availability, powerFilter)
        deepStrictEqual(textsOf(parsed), textsOf(again))
      },
    ),
    { numRuns: 100 },
  )
  t.pass()
})

await t.test('the variants of an answer take a bounded number of bytes, whatever their number', async (t) => {
  const types = ['T1', 'T2', 'T3', 'T4']
  const answerWith = (length: number) => {
    const connectors = [...types, 'T5'].map((type) => connector(type, level(22)))
    const answer = new Answer({ ...station('a', ...connectors), note: 'n'.repeat(length) })
    answer.render({ ...NO_FILTER, types: new Set() }, 'json', false) // which makes the index
    return {
      answer,
      render: (type: string) => answer.render({ ...NO_FILTER, types: new Set([type]) }, 'json', false),
    }
  }
  const small = answerWith(70_000)
  const before = small.answer.bytes
  small.render('T1')
  const overhead = small.answer.bytes - before - 70_000
  const fitting = MAX_VARIANTS_BYTES / types.length - overhead
  const results = [-1, 0, 1].map((more) => {
    const { answer, render } = answerWith(fitting + more)
    const first = types.map(render)
    const isKept = types.map((type, i) => render(type) === first[i])
    return [isKept, answer.bytes - answer.json.length <= MAX_VARIANTS_BYTES + 2_000]
  })
  const [all, none] = [types.map(() => true), types.map(() => false)]
  t.strictSame(results, [
    [all, true],
    [all, true],
    [none, true],
  ])
})

await t.test('a variant is kept even if there is no room for a second, until there is another', async (t) => {
  const long = { ...station('a', connector('T', level(22))), note: '&'.repeat(700_000) } // 5 bytes each in XML
  const answer = new Answer(long)
  const render = () => answer.render(NO_FILTER, 'xml', true)
  const first = render()
  t.ok(render() === first)
  answer.render({ ...NO_FILTER, types: new Set() }, 'xml', false)
  t.ok(render() !== first)
})
