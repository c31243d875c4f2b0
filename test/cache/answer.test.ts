import { gunzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import t from 'tap'
import { indexOf, variantKey } from '../../src/availability/filter.ts'
import type { Availability } from '../../src/availability/model.ts'
import type { Filter } from '../../src/availability/query.ts'
import { parseQuery } from '../../src/availability/query.ts'
import type { Format } from '../../src/availability/model.ts'
import type { Rendering } from '../../src/cache/answer.ts'
import { Answer, MAX_VARIANTS } from '../../src/cache/answer.ts'
import { anyFilter, anyStation, NO_FILTER } from '../support/arbitraries.ts'
import { expectedJson, expectedXml } from '../support/expected.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'

const FORMATS = ['json', 'xml'] as const

const place = station(
  'place',
  connector('Type2', level(11, 2, 1), level(22, 1, 1)),
  connector('CCS', level(50, 1, 0), level(150, 0, 2), level(350, 3, 0)),
)

/** A filter as clients spell it. */
function spelled(filter: string): Filter {
  return parseQuery(`chargingAvailability=place&${filter}`)
}

/** What goes over the wire. */
function bytesOf({ body, encoding }: Rendering): Buffer {
  return Buffer.from(body, encoding)
}

/** A station with so many rows, so that each lower bound leaves another part of it. */
function ladder(rows: number): Availability {
  return station('ladder', connector('Type2', ...Array.from({ length: rows }, (_, i) => level(i + 1))))
}

function from(powerKW: number): Filter {
  return { ...NO_FILTER, minPowerKW: powerKW }
}

await t.test('a body', async (t) => {
  await t.test('is the answer in the format asked for', async (t) => {
    const answer = new Answer(place)
    t.equal(answer.render(NO_FILTER, 'json', false).body, expectedJson(place))
    t.equal(answer.render(NO_FILTER, 'xml', false).body, expectedXml(place))
    const ccs = station('place', connector('CCS', level(50, 1, 0), level(150, 0, 2)))
    const filter = spelled('connectorSet=CCS&maxPowerKW=150')
    t.equal(answer.render(filter, 'json', false).body, expectedJson(ccs))
    t.equal(answer.render(filter, 'xml', false).body, expectedXml(ccs))
  })

  await t.test('compressed is the same body', async (t) => {
    const answer = new Answer(place)
    for (const format of FORMATS) {
      const plain = answer.render(NO_FILTER, format, false)
      const gzip = answer.render(NO_FILTER, format, true)
      t.equal(gunzipSync(bytesOf(gzip)).toString(), plain.body)
      t.strictSame([plain.gzipped, gzip.gzipped], [false, true])
    }
  })

  await t.test('has its length in bytes, not in characters', async (t) => {
    const answer = new Answer({ ...station('Zürich ⚡ 🔌'), note: 'naïve' })
    for (const format of FORMATS) {
      for (const gzip of [false, true]) {
        const rendering = answer.render(NO_FILTER, format, gzip)
        t.equal(rendering.length, bytesOf(rendering).length)
      }
    }
  })

  await t.test('has nothing of the availability that was handed in', async (t) => {
    const handedIn = structuredClone(place) as { note?: string } & Availability
    const answer = new Answer(handedIn)
    handedIn.note = 'written later'
    t.equal(answer.render(NO_FILTER, 'xml', false).body, expectedXml(place))
  })
})

await t.test('a rendering is made once for what survives', async (t) => {
  const GROUPS = [
    ['', 'connectorSet=Type2,CCS', 'connectorSet=CCS&connectorSet=Type2', 'connectorSet=,CCS,,Type2,New'],
    ['connectorSet=CCS', 'connectorSet=CCS,CCS', 'connectorSet=CCS,New', 'connectorSet=New&connectorSet=CCS'],
    [
      'minPowerKW=150',
      'minPowerKW=150.0',
      'minPowerKW=1.5e2',
      'minPowerKW=50.1',
      'minPowerKW=150&maxPowerKW=350',
    ],
    ['connectorSet=Type2&minPowerKW=22', 'connectorSet=Type2&minPowerKW=11.5&maxPowerKW=22.'],
    ['connectorSet=New', 'minPowerKW=351', 'maxPowerKW=10', 'connectorSet=CCS&maxPowerKW=22'],
  ]

  await t.test('the very same one for all spellings, and another for each result', async (t) => {
    for (const format of FORMATS) {
      for (const gzip of [false, true]) {
        const answer = new Answer(place)
        const made = GROUPS.map((spellings) => {
          const [first, ...others] = spellings.map((query) => answer.render(spelled(query), format, gzip))
          for (const other of others) t.equal(other, first)
          return first
        })
        t.equal(new Set(made).size, GROUPS.length)
        t.equal(new Set(made.map((one) => one?.etag)).size, GROUPS.length)
      }
    }
  })

  await t.test('the other formats and codings change nothing of it', async (t) => {
    const answer = new Answer(place)
    const json = answer.render(NO_FILTER, 'json', false)
    const gzip = answer.render(NO_FILTER, 'json', true)
    answer.render(NO_FILTER, 'xml', true)
    t.equal(answer.render(NO_FILTER, 'json', false), json)
    t.equal(answer.render(NO_FILTER, 'json', true), gzip)
  })

  await t.test('a new answer of the same station has renderings of its own', async (t) => {
    const old = new Answer(place).render(NO_FILTER, 'xml', false)
    const fresh = new Answer(referenceStation('place')).render(NO_FILTER, 'xml', false)
    t.not(fresh.body, old.body)
    t.not(fresh.etag, old.etag)
  })
})

function tagOf(availability: Availability, format: Format, gzip: boolean): string {
  return new Answer(availability).render(NO_FILTER, format, gzip).etag
}

await t.test('the ETag', async (t) => {
  await t.test('is strong, and equal for equal bodies of whatever answer', async (t) => {
    for (const format of FORMATS) {
      for (const gzip of [false, true]) {
        t.match(tagOf(place, format, gzip), /^"[\x21\x23-\x7e]+"$/)
        t.equal(tagOf(place, format, gzip), tagOf(structuredClone(place), format, gzip))
      }
    }
  })

  await t.test('differs by station, content, format, filter and coding', async (t) => {
    const changed = station('place', connector('Type2', level(11, 3, 0)))
    const elsewhere = { ...place, chargingAvailability: 'elsewhere' }
    const tags = [place, changed, elsewhere].flatMap((availability) => {
      const answer = new Answer(availability)
      return FORMATS.flatMap((format) =>
        [NO_FILTER, from(22)].flatMap((filter) =>
          [false, true].map((gzip) => answer.render(filter, format, gzip).etag),
        ),
      )
    })
    t.equal(tags.length, 24)
    t.equal(new Set(tags).size, 24)
  })
})

await t.test('an answer knows whether the station has connectors', async (t) => {
  t.equal(new Answer(station('nowhere')).isEmpty, true)
  t.equal(new Answer(place).isEmpty, false)
})

await t.test('so many variants are kept, and no more', async (t) => {
  await t.test(`${MAX_VARIANTS} are all there still`, async (t) => {
    const answer = new Answer(ladder(MAX_VARIANTS))
    const bounds = Array.from({ length: MAX_VARIANTS }, (_, i) => i + 1)
    const made = bounds.map((bound) => answer.render(from(bound), 'json', false))
    for (const [i, bound] of bounds.entries()) t.equal(answer.render(from(bound), 'json', false), made[i])
  })

  await t.test('one more takes the place of the oldest, its compressed form included', async (t) => {
    const answer = new Answer(ladder(MAX_VARIANTS + 1))
    const bounds = Array.from({ length: MAX_VARIANTS + 1 }, (_, i) => i + 1)
    const made = bounds.map((bound) => answer.render(from(bound), 'json', true))
    for (const [i, bound] of bounds.entries()) {
      if (i > 0) t.equal(answer.render(from(bound), 'json', true), made[i])
    }
    const again = answer.render(from(1), 'json', true)
    t.not(again, made[0])
    t.strictSame(again, made[0], 'made again as it was')
  })

  await t.test('200 different filters take no more memory than these', async (t) => {
    const answer = new Answer(ladder(200))
    let most = 0
    for (let bound = 1; bound <= 200; bound++) {
      answer.render(from(bound), 'xml', bound % 2 === 0)
      if (bound === MAX_VARIANTS) most = answer.bytes
    }
    t.ok(answer.bytes <= most, 'the longest came first')
  })
})

await t.test('the bytes', async (t) => {
  await t.test('are told as they grow, and cover all text that is kept', async (t) => {
    const answer = new Answer(ladder(100))
    let told = answer.bytes
    answer.onGrowth = ({ bytes }) => {
      told = bytes
    }
    t.ok(answer.bytes > answer.json.length)
    for (const [format, gzip] of [
      ['xml', false],
      ['xml', true],
      ['json', true],
    ] as const) {
      const before = answer.bytes
      const rendering = answer.render(NO_FILTER, format, gzip)
      t.ok(answer.bytes - before >= rendering.length)
      t.equal(told, answer.bytes)
      answer.render(NO_FILTER, format, gzip)
      t.equal(told, answer.bytes, 'nothing for what was there')
    }
  })

  await t.test('text beyond Latin-1 takes two bytes a character', async (t) => {
    const latin = new Answer({ ...station('a'), note: 'é'.repeat(1_000) })
    const wide = new Answer({ ...station('a'), note: '⚡'.repeat(1_000) })
    t.ok(wide.bytes - latin.bytes >= 1_000)
  })

  await t.test(
    'are what a recount of all that is held says, whatever was rendered and dropped',
    async (t) => {
      const anyRequest = fc.record({
        filter: fc.oneof(anyFilter, fc.integer({ min: 1, max: 120 }).map(from)),
        format: fc.constantFrom(...FORMATS),
        gzip: fc.boolean(),
      })
      const stations = fc.oneof(anyStation, fc.constant(ladder(120)))
      let dropped = 0
      fc.assert(
        fc.property(
          stations,
          fc.array(anyRequest, { maxLength: 250, size: 'max' }),
          (availability, requests) => {
            const outline = indexOf(availability)
            const answer = new Answer(availability)
            const base = answer.bytes
            const held = new Map<string, Rendering[]>()
            for (const { filter, format, gzip } of requests) {
              const key = `${format} ${variantKey(outline, filter)}`
              const rendering = answer.render(filter, format, gzip)
              const known = held.get(key)
              if (known === undefined && held.size === MAX_VARIANTS) {
                held.delete([...held.keys()][0] as string)
                dropped++
              }
              const plain = answer.render(filter, format, false)
              held.set(key, [...new Set([plain, ...(known ?? []), rendering])])
            }
            const filtered = requests.some(({ filter }) =>
              Object.values(filter).some((side) => side !== null),
            )
            const renderings = [...held.values()].flat().map((one) => textBytes(one, answer.json))
            const expected =
              base +
              held.size * overheadOf(availability) +
              (filtered ? outlineOverheadOf(availability) : 0) +
              renderings.reduce((sum, bytes) => sum + bytes, 0)
            if (answer.bytes !== expected) throw new Error(`${answer.bytes} bytes, recounted ${expected}`)
          },
        ),
        { seed: 20_260_115, numRuns: 60 },
      )
      t.ok(dropped > 100, 'many variants were dropped')
    },
  )
})

/** What a compressed form costs beside its bytes. */
function gzipOverhead(): number {
  const answer = new Answer(place)
  answer.render(NO_FILTER, 'xml', false)
  const before = answer.bytes
  const { length } = answer.render(NO_FILTER, 'xml', true)
  return answer.bytes - before - length
}

/** What a variant costs beside its texts: the whole answer in JSON has none of its own. */
function overheadOf(availability: Availability): number {
  const answer = new Answer(availability)
  const before = answer.bytes
  answer.render(NO_FILTER, 'json', false)
  return answer.bytes - before
}

/** What the first filter costs, whatever it is. */
function outlineOverheadOf(availability: Availability): number {
  const answer = new Answer(availability)
  const before = answer.bytes
  const rendering = answer.render(from(0), 'xml', false)
  return answer.bytes - before - overheadOf(availability) - textBytes(rendering, answer.json)
}

/** A compressed body brings what it costs beside its bytes. */
function textBytes({ body, gzipped }: Rendering, shared: string): number {
  if (gzipped) return body.length + gzipOverhead()
  if (body === shared) return 0
  const isWide = body.split('').some((unit) => unit.charCodeAt(0) > 0xff)
  return isWide ? 2 * body.length : body.length
}
