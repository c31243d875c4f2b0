import { gunzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import t from 'tap'
import type { VariantKey } from '../../src/availability/filter.ts'
import { indexOf, POWER_FILTERS, UNFILTERED, variantKey } from '../../src/availability/filter.ts'
import type { Availability } from '../../src/availability/model.ts'
import type { Filter } from '../../src/availability/query.ts'
import { parseQuery } from '../../src/availability/query.ts'
import type { Format } from '../../src/availability/model.ts'
import type { Rendering } from '../../src/cache/answer.ts'
import { Answer, MAX_VARIANTS } from '../../src/cache/answer.ts'
import { anyFilter, anyStation, NO_FILTER } from '../support/arbitraries.ts'
import { expectedJson, expectedXml } from '../support/expected.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'
import { repeat } from './setup.ts'

const FORMATS = ['json', 'xml'] as const
/** Every format, plain and compressed. */
const VARIANTS = FORMATS.flatMap((format) => [false, true].map((gzip) => [format, gzip] as const))

/** The unfiltered JSON, which is kept apart from the others and never dropped. */
const WHOLE = keyOf('json', UNFILTERED)

const place = station(
  'place',
  connector('Type2', level(11, 2, 1), level(22, 1, 1)),
  connector('CCS', level(50, 1, 0), level(150, 0, 2), level(350, 3, 0)),
)

/** A filter as a client writes it. */
function filterOf(filter: string): Filter {
  return parseQuery(`chargingAvailability=place&${filter}`)
}

/** The bytes on the wire. */
function bytesOf({ body, encoding }: Rendering): Buffer {
  return Buffer.from(body, encoding)
}

/** A station with rows of 1, 2, 3 … kW, so that each lower bound gives another result. */
function ladder(rows: number): Availability {
  return station('ladder', connector('Type2', ...Array.from({ length: rows }, (_, i) => level(i + 1))))
}

function from(powerKW: number): Filter {
  return { ...NO_FILTER, minPowerKW: powerKW }
}

await t.test('a rendering is the answer in one format and coding', async (t) => {
  await t.test('the body is the filtered answer in the requested format', async (t) => {
    const answer = new Answer(place)
    t.equal(answer.render(NO_FILTER, 'json', false).body, expectedJson(place))
    t.equal(answer.render(NO_FILTER, 'xml', false).body, expectedXml(place))
    const ccs = station('place', connector('CCS', level(50, 1, 0), level(150, 0, 2)))
    const filter = filterOf('connectorSet=CCS&maxPowerKW=150')
    t.equal(answer.render(filter, 'json', false).body, expectedJson(ccs))
    t.equal(answer.render(filter, 'xml', false).body, expectedXml(ccs))
  })

  await t.test('the compressed body decompresses to the plain one', async (t) => {
    const answer = new Answer(place)
    const seen = FORMATS.map((format) => {
      const plain = answer.render(NO_FILTER, format, false)
      const gzip = answer.render(NO_FILTER, format, true)
      return [gunzipSync(bytesOf(gzip)).toString() === plain.body, plain.gzipped, gzip.gzipped]
    })
    t.strictSame(seen, repeat(2, [true, false, true]))
  })

  await t.test('the length is in bytes, not in characters', async (t) => {
    const answer = new Answer({ ...station('Zürich ⚡ 🔌'), note: 'naïve' })
    const renderings = VARIANTS.map(([format, gzip]) => answer.render(NO_FILTER, format, gzip))
    t.strictSame(
      renderings.map(({ length }) => length),
      renderings.map((rendering) => bytesOf(rendering).length),
    )
  })

  await t.test('later changes of the decoded object have no effect', async (t) => {
    const decoded = structuredClone(place) as { note?: string } & Availability
    const answer = new Answer(decoded)
    decoded.note = 'written later'
    t.equal(answer.render(NO_FILTER, 'xml', false).body, expectedXml(place))
  })
})

await t.test('a rendering is made once per variant key', async (t) => {
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

  await t.test('filters with the same result share one rendering, others have their own', async (t) => {
    const seen = VARIANTS.map(([format, gzip]) => {
      const answer = new Answer(place)
      const groups = GROUPS.map(
        (queries) => new Set(queries.map((query) => answer.render(filterOf(query), format, gzip))),
      )
      const renderings = groups.flatMap((group) => [...group])
      return [renderings.length, new Set(renderings.map(({ etag }) => etag)).size]
    })
    t.strictSame(seen, repeat(4, [GROUPS.length, GROUPS.length]))
  })

  await t.test('a rendering is kept when other formats and codings are made', async (t) => {
    const answer = new Answer(place)
    const json = answer.render(NO_FILTER, 'json', false)
    const gzip = answer.render(NO_FILTER, 'json', true)
    answer.render(NO_FILTER, 'xml', true)
    t.equal(answer.render(NO_FILTER, 'json', false), json)
    t.equal(answer.render(NO_FILTER, 'json', true), gzip)
  })

  await t.test('a new answer of the same station has renderings of its own', async (t) => {
    const earlier = new Answer(place).render(NO_FILTER, 'xml', false)
    const later = new Answer(referenceStation('place')).render(NO_FILTER, 'xml', false)
    t.not(later.body, earlier.body)
    t.not(later.etag, earlier.etag)
  })
})

function tagOf(availability: Availability, format: Format, gzip: boolean): string {
  return new Answer(availability).render(NO_FILTER, format, gzip).etag
}

await t.test('an ETag identifies the bytes of a body', async (t) => {
  await t.test('the ETag is strong, and equal for equal bodies of different answers', async (t) => {
    const tags = VARIANTS.map(([format, gzip]) => tagOf(place, format, gzip))
    t.match(
      tags,
      tags.map(() => /^"[\x21\x23-\x7e]+"$/),
    )
    t.strictSame(
      VARIANTS.map(([format, gzip]) => tagOf(structuredClone(place), format, gzip)),
      tags,
    )
  })

  await t.test('the ETag differs by station, content, format, filter and coding', async (t) => {
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

await t.test('isEmpty is true for a station without connectors', async (t) => {
  t.equal(new Answer(station('nowhere')).isEmpty, true)
  t.equal(new Answer(place).isEmpty, false)
})

await t.test('the number of variants per answer is limited', async (t) => {
  await t.test(`${MAX_VARIANTS} variants are kept`, async (t) => {
    const answer = new Answer(ladder(MAX_VARIANTS))
    const bounds = Array.from({ length: MAX_VARIANTS }, (_, i) => i + 1)
    const render = () => bounds.map((bound) => answer.render(from(bound), 'json', false))
    const first = render()
    t.strictSame(
      render().map((rendering, i) => rendering === first[i]),
      repeat(MAX_VARIANTS, true),
    )
  })

  await t.test('one more variant replaces the oldest with its compressed form', async (t) => {
    const answer = new Answer(ladder(MAX_VARIANTS + 1))
    const bounds = Array.from({ length: MAX_VARIANTS + 1 }, (_, i) => i + 1)
    const render = (bound: number) => answer.render(from(bound), 'json', true)
    const [oldest, ...others] = bounds.map(render)
    t.strictSame(
      bounds.slice(1).map((bound, i) => render(bound) === others[i]),
      repeat(MAX_VARIANTS, true),
    )
    const again = render(1)
    t.not(again, oldest)
    t.strictSame(again, oldest, 'the new rendering is equal')
  })

  await t.test(`200 filters take no more memory than ${MAX_VARIANTS}`, async (t) => {
    const answer = new Answer(ladder(200))
    let most = 0
    for (let bound = 1; bound <= 200; bound++) {
      answer.render(from(bound), 'xml', bound % 2 === 0)
      if (bound === MAX_VARIANTS) most = answer.bytes
    }
    t.ok(answer.bytes <= most, 'the first renderings are the longest')
  })
})

await t.test('bytes covers all that an answer keeps in memory', async (t) => {
  await t.test('each new rendering is reported, and nothing else', async (t) => {
    const answer = new Answer(ladder(100))
    const reported: number[] = []
    answer.stored(({ bytes }) => void reported.push(bytes))
    t.ok(answer.bytes > answer.json.length)
    const renderings = [
      ['xml', false],
      ['xml', true],
      ['json', true],
    ] as const
    const growth = renderings.map(([format, gzip]) => {
      const before = answer.bytes
      const rendering = answer.render(NO_FILTER, format, gzip)
      const isCovered = answer.bytes - before >= rendering.length
      const after = answer.bytes
      answer.render(NO_FILTER, format, gzip)
      return [isCovered, reported.at(-1) === after, answer.bytes === after]
    })
    t.strictSame(growth, repeat(3, [true, true, true]))
  })

  await t.test('text beyond Latin-1 counts two bytes per character', async (t) => {
    const latin = new Answer({ ...station('a'), note: 'é'.repeat(1_000) })
    const wide = new Answer({ ...station('a'), note: '⚡'.repeat(1_000) })
    t.ok(wide.bytes - latin.bytes >= 1_000)
  })

  await t.test('bytes equals a recount after any sequence of renderings', async (t) => {
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
          const index = indexOf(availability)
          const answer = new Answer(availability)
          const base = answer.bytes
          const kept = new Map<VariantKey, Rendering[]>()
          for (const { filter, format, gzip } of requests) {
            const key = keyOf(format, variantKey(index, filter))
            const rendering = answer.render(filter, format, gzip)
            const known = kept.get(key)
            const others = [...kept.keys()].filter((one) => one !== WHOLE)
            if (known === undefined && key !== WHOLE && others.length === MAX_VARIANTS) {
              kept.delete(others[0] as VariantKey)
              dropped++
            }
            const plain = answer.render(filter, format, false)
            kept.set(key, [...new Set([plain, ...(known ?? []), rendering])])
          }
          const filtered = requests.some(({ filter }) => Object.values(filter).some((side) => side !== null))
          const renderings = [...kept.values()].flat().map((one) => textBytes(one, answer.json))
          const expected =
            base +
            [...kept.keys()].reduce<number>((sum, key) => sum + keyBytes(key), 0) +
            [...kept.keys()].reduce<number>((sum, key) => sum + overheadOf(key), 0) +
            (filtered ? indexOverheadOf(availability) : 0) +
            renderings.reduce((sum, bytes) => sum + bytes, 0)
          if (answer.bytes !== expected) throw new Error(`${answer.bytes} bytes, recounted ${expected}`)
        },
      ),
      { seed: 20_260_115, numRuns: 60 },
    )
    t.ok(dropped > 100, 'many variants were dropped')
  })
})

/** The overhead of a compressed form, without its bytes. */
function gzipOverhead(): number {
  const answer = new Answer(place)
  answer.render(NO_FILTER, 'xml', false)
  const before = answer.bytes
  const { length } = answer.render(NO_FILTER, 'xml', true)
  return answer.bytes - before - length
}

/** Different for each format and result; a text is as long as that of the answer. */
function keyOf(format: Format, kept: VariantKey): VariantKey {
  return typeof kept === 'string' ? format + kept : format === 'json' ? kept : -1 - kept
}

/** The bytes of a key; a number is part of the overhead. */
function keyBytes(key: VariantKey): number {
  return typeof key === 'string' ? key.length : 0
}

/** The overhead of a rendering, without its text and its key. */
function overheadOf(key: VariantKey): number {
  const answer = new Answer(place)
  const before = answer.bytes
  const rendering = answer.render(NO_FILTER, key === WHOLE ? 'json' : 'xml', false)
  return answer.bytes - before - textBytes(rendering, answer.json)
}

/** The bytes that the first filter adds, whatever it is. */
function indexOverheadOf(availability: Availability): number {
  const answer = new Answer(availability)
  const before = answer.bytes
  const rendering = answer.render(from(0), 'xml', false)
  const key = keyOf('xml', variantKey(indexOf(availability), from(0)))
  const variant = overheadOf(key) + keyBytes(key)
  return answer.bytes - before - variant - textBytes(rendering, answer.json)
}

/** The bytes of a rendering's text; with its overhead if compressed. */
function textBytes({ body, gzipped }: Rendering, shared: string): number {
  if (gzipped) return body.length + gzipOverhead()
  if (body === shared) return 0
  const isWide = body.split('').some((unit) => unit.charCodeAt(0) > 0xff)
  return isWide ? 2 * body.length : body.length
}

await t.test('an answer is rendered by its reading of a power bound', async (t) => {
  const bounded = { ...NO_FILTER, minPowerKW: 50 }
  const one = station('s', connector('A', level(11, 1), level(50, 2)), connector('B', level(11, 4)))
  const totals = POWER_FILTERS.map((powerFilter) => {
    const answer = new Answer(one, powerFilter)
    const { connectors } = JSON.parse(answer.render(bounded, 'json', false).body) as typeof one
    return connectors.map(({ total, availability }) => [total, (availability.perPowerLevel as []).length])
  })
  t.strictSame(totals, [[[2, 1]], [[3, 1]], [[3, 2]]])

  await t.test('a bound that changes nothing shares the unfiltered rendering', async (t) => {
    const all = { ...NO_FILTER, minPowerKW: 0 }
    t.strictSame(
      POWER_FILTERS.map((powerFilter) => {
        const answer = new Answer(one, powerFilter)
        return answer.render(all, 'xml', false) === answer.render(NO_FILTER, 'xml', false)
      }),
      [false, true, true],
    )
  })
})
