import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import t from 'tap'
import { decodeAvailability } from '../../src/availability/decode.ts'
import { filterAvailability } from '../../src/availability/filter.ts'
import { renderJson } from '../../src/availability/json.ts'
import { anyFilter, anyStation, deepFreeze } from '../support/arbitraries.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')
const ID = '75502858-a491-36fe-7128-23d400153b86'

/** A value as a client decodes it from JSON, where -0 and 0 are one number. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

await t.test('renderJson writes the JSON body', async (t) => {
  await t.test("the JSON body is the reference's sample without white space", async (t) => {
    const sample = fixture('reference.json')
    t.equal(renderJson(decodeAvailability(sample, ID)), sample.replaceAll(/\s/g, ''))
    const empty = fixture('reference-empty.json')
    t.equal(renderJson(decodeAvailability(empty, '1')), empty.trim())
  })

  await t.test('powerKW has a fraction at every level, and no other number has', async (t) => {
    const one = {
      ...station('1', connector('A', level(50, 1))),
      powerKW: 7,
      kW: 7,
      more: [{ powerKW: 11, n: 11 }],
    }
    const text = renderJson(one)
    t.match(text, '"powerKW":50.0,"available":1,"occupied":0,')
    t.match(text, '"powerKW":7.0,"kW":7,"more":[{"powerKW":11.0,"n":11}]')
  })

  await t.test('a powerKW that is not a number is not changed', async (t) => {
    const values = ['50', null, true, [50], { a: 50 }]
    t.match(
      values.map((powerKW) => renderJson({ ...station('1'), powerKW })),
      values.map((powerKW) => `"powerKW":${JSON.stringify(powerKW)}}`),
    )
  })

  await t.test('members keep their order', async (t) => {
    const texts = [
      '{"chargingAvailability":"1","connectors":[]}',
      '{"connectors":[],"chargingAvailability":"1"}',
      '{"z":1,"connectors":[{"z":[],"availability":{"z":{},"a":null},"type":"A"}],"a":false,"chargingAvailability":"1","b":1.5}',
    ]
    t.strictSame(
      texts.map((text) => renderJson(decodeAvailability(text, '1'))),
      texts,
    )
  })

  await t.test('names are escaped as well as values', async (t) => {
    const one = { ...station('1'), 'a"b\n': '"\\\u2028', 'lone\ud800': '\udfff' }
    t.strictSame(JSON.parse(renderJson(one)), one)
    t.ok(renderJson(one).isWellFormed(), 'lone surrogates are escaped, because UTF-8 has none')
  })

  await t.test(
    'the JSON body is parsed as the same answer, and differs from JSON.stringify only in powerKW',
    async () => {
      fc.assert(
        fc.property(anyStation, anyFilter, (one, filter) => {
          const left = filterAvailability(deepFreeze(one), filter)
          const text = renderJson(left)
          const unfraction = text.replaceAll(/("powerKW":-?\d+)\.0(?=[,}e])/g, '$1')
          return (
            JSON.stringify(JSON.parse(text)) === JSON.stringify(plain(left)) &&
            unfraction.length === JSON.stringify(left).length
          )
        }),
        { numRuns: 1_000 },
      )
    },
  )

  await t.test('the JSON body has no white space', async (t) => {
    t.notMatch(renderJson(referenceStation()), /\s/)
  })
})
