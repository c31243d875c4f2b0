import * as fc from 'fast-check'
import t from 'tap'
import type { PowerFilter } from '../../src/availability/filter.ts'
import {
  POWER_FILTERS,
  UNFILTERED,
  filterAvailability,
  indexOf,
  variantKey,
} from '../../src/availability/filter.ts'
import type { Availability, Connector } from '../../src/availability/model.ts'
import { COUNTS, isObject } from '../../src/availability/model.ts'
import type { Filter } from '../../src/availability/query.ts'
import { anyFilter, anyStation, deepFreeze, NO_FILTER } from '../support/arbitraries.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'

const types = (...names: string[]): Filter => ({ ...NO_FILTER, types: new Set(names) })
const power = (minPowerKW: number | null, maxPowerKW: number | null): Filter => ({
  ...NO_FILTER,
  minPowerKW,
  maxPowerKW,
})

/** Filters a frozen copy, so every case also proves that the argument is not modified. */
function filtered(availability: Availability, filter: Filter): Availability {
  return filterAvailability(deepFreeze(structuredClone(availability)), filter)
}

/** The remaining powers, by connector. */
function powersLeft(availability: Availability, filter: Filter): unknown[] {
  return indexOf(filtered(availability, filter)).map(({ type, powers }) => [type, ...powers])
}

/** A connector with any value as its availability. */
const odd = (availability: Connector['availability'], more: object = {}): Connector => ({
  type: 'Odd',
  availability,
  ...more,
})

/** A place with three connectors, one of them without rows. */
const place = station(
  'place',
  connector('Type2', level(11, 2, 1), level(22, 1, 1)),
  connector('CCS', level(50, 1, 0), level(150, 0, 2), level(350, 3, 0)),
  { type: 'Rowless', total: 4, availability: { current: { available: 4 } } },
)

await t.test('without a filter nothing changes', async (t) => {
  await t.test('the result is the argument itself', async (t) => {
    const stations = [place, referenceStation(), station('empty')]
    t.strictSame(
      stations.map((one) => filterAvailability(one, NO_FILTER) === one),
      [true, true, true],
    )
  })
})

await t.test('a set of types keeps connectors of these types', async (t) => {
  await t.test('connectors of the set are kept in the order of the answer', async (t) => {
    t.strictSame(powersLeft(place, types('CCS', 'Type2')), [
      ['Type2', 11, 22],
      ['CCS', 50, 150, 350],
    ])
  })

  await t.test('every connector of a type that occurs twice is kept', async (t) => {
    const twice = station(
      'twice',
      connector('A', level(1)),
      connector('B', level(2)),
      connector('A', level(3)),
    )
    t.strictSame(powersLeft(twice, types('A')), [
      ['A', 1],
      ['A', 3],
    ])
  })

  await t.test('an unknown connector type matches nothing and is valid', async (t) => {
    t.strictSame(filtered(place, types('NoSuchType')), station('place'))
  })

  await t.test('types are compared exactly', async (t) => {
    t.strictSame(powersLeft(place, types('ccs', 'Type', 'Type22', ' CCS')), [])
  })

  await t.test('names that every object inherits match nothing', async (t) => {
    t.strictSame(powersLeft(place, types('constructor', 'toString', 'hasOwnProperty')), [])
  })

  await t.test('connectors are kept unchanged, with odd counts and missing rows too', async (t) => {
    const rough = station('rough', odd({ current: null, perPowerLevel: 'none' }, { total: '7', note: [1] }))
    t.strictSame(filtered(rough, types('Odd')), rough)
    t.strictSame(filtered(place, types('Rowless', 'CCS', 'Type2')), place)
  })
})

await t.test('a power bound keeps rows within the range', async (t) => {
  await t.test('the interval is closed at both ends', async (t) => {
    t.strictSame(powersLeft(place, power(22, 150)), [
      ['Type2', 22],
      ['CCS', 50, 150],
    ])
    t.strictSame(powersLeft(place, power(22, 22)), [['Type2', 22]])
    t.strictSame(powersLeft(place, power(22.000000000000004, 49.99999999999999)), [])
  })

  await t.test('a missing bound does not limit its side', async (t) => {
    t.strictSame(powersLeft(place, power(150, null)), [['CCS', 150, 350]])
    t.strictSame(powersLeft(place, power(null, 11)), [['Type2', 11]])
    t.strictSame(powersLeft(station('s', connector('A', level(0), level(1e308))), power(0, null)), [
      ['A', 0, 1e308],
    ])
    t.strictSame(powersLeft(station('s', connector('A', level(-1), level(5))), power(null, 22)), [
      ['A', -1, 5],
    ])
  })

  await t.test('total and current are recomputed from the remaining rows', async (t) => {
    const [type2] = filtered(place, power(22, null)).connectors
    t.strictSame(type2, connector('Type2', level(22, 1, 1)))
    const [ccs] = filtered(place, power(100, null)).connectors
    t.strictSame(ccs, connector('CCS', level(150, 0, 2), level(350, 3, 0)))
  })

  await t.test('every state is counted', async (t) => {
    const row = { powerKW: 22, available: 1, occupied: 2, reserved: 3, unknown: 4, outOfService: 5 }
    const [counted] = filtered(station('s', odd({ perPowerLevel: [row, row] })), power(1, null)).connectors
    t.strictSame(counted, {
      type: 'Odd',
      availability: {
        perPowerLevel: [row, row],
        current: { available: 2, occupied: 4, reserved: 6, unknown: 8, outOfService: 10 },
      },
      total: 30,
    })
  })

  await t.test('counts are recomputed even if every row is kept', async (t) => {
    const wrong = { ...connector('A', level(22, 1, 1)), total: 99 }
    t.strictSame(filtered(station('s', wrong), power(0, null)), station('s', connector('A', level(22, 1, 1))))
  })

  await t.test('a connector without a remaining row is removed', async (t) => {
    t.strictSame(filtered(place, power(1_000, null)), station('place'))
  })

  await t.test('a connector without rows is removed by any bound', async (t) => {
    const values = [[], null, undefined, 'none', 3, {}, { 0: { powerKW: 22 }, length: 1 }]
    t.strictSame(
      values.map((perPowerLevel) => filtered(station('s', odd({ perPowerLevel })), power(0, null))),
      values.map(() => station('s')),
    )
    t.strictSame(filtered(station('s', odd({})), power(null, 1e308)), station('s'))
  })

  await t.test('rows without a numeric power are outside every range', async (t) => {
    const good = level(22, 1)
    const rows = [
      null,
      'x',
      7,
      true,
      [],
      [22],
      {},
      { available: 1 },
      { powerKW: '22' },
      { powerKW: null },
      good,
    ]
    const [kept] = filtered(station('s', odd({ perPowerLevel: rows })), power(null, 1e308)).connectors
    t.strictSame(kept?.availability.perPowerLevel, [good])
    t.strictSame(
      filtered(station('s', odd({ perPowerLevel: rows.slice(0, -1) })), power(0, null)),
      station('s'),
    )
  })

  await t.test(
    'a missing or non-numeric count is 0 in the sums, and its row is kept unchanged',
    async (t) => {
      const rows = [
        { powerKW: 22, available: 2 },
        { powerKW: 22, available: '3', occupied: null, reserved: {}, unknown: [1], outOfService: true },
        { powerKW: 22, available: Number.NaN, occupied: Number.POSITIVE_INFINITY },
      ]
      const [kept] = filtered(station('s', odd({ perPowerLevel: rows })), power(22, 22)).connectors
      t.strictSame(kept?.availability.current, {
        available: 2,
        occupied: 0,
        reserved: 0,
        unknown: 0,
        outOfService: 0,
      })
      t.equal(kept?.total, 2)
      t.strictSame(kept?.availability.perPowerLevel, rows)
    },
  )

  await t.test('counts that are not an object are replaced', async (t) => {
    const values = [null, undefined, 5, 'many', [9]]
    const counts = { available: 1, occupied: 0, reserved: 0, unknown: 0, outOfService: 0 }
    t.strictSame(
      values.map((current) => {
        const one = station('s', odd({ current, perPowerLevel: [level(22, 1)] }))
        return filtered(one, power(22, null)).connectors[0]?.availability.current
      }),
      values.map(() => counts),
    )
  })
})

await t.test('types and bounds are combined', async (t) => {
  await t.test('a connector must pass by type and by power', async (t) => {
    t.strictSame(powersLeft(place, { types: new Set(['CCS', 'Rowless']), minPowerKW: 20, maxPowerKW: 60 }), [
      ['CCS', 50],
    ])
  })
})

await t.test('undocumented members are kept', async (t) => {
  const unknown = {
    version: 3,
    connectors: [
      {
        id: 'c1',
        type: 'A',
        total: 9,
        tariff: { eur: 0.5 },
        availability: {
          since: '2026',
          current: { charging: 7, available: 9, note: 'x' },
          perPowerLevel: [{ phases: 3, ...level(22, 1, 1), tags: ['fast'] }, level(50, 9)],
          until: null,
        },
        last: true,
      },
    ],
    chargingAvailability: 'u',
    source: ['x'],
  }

  await t.test('members of every level keep their values and their order', async (t) => {
    t.equal(
      JSON.stringify(filtered(unknown, power(null, 22))),
      JSON.stringify({
        version: 3,
        connectors: [
          {
            id: 'c1',
            type: 'A',
            total: 2,
            tariff: { eur: 0.5 },
            availability: {
              since: '2026',
              current: {
                charging: 7,
                available: 1,
                note: 'x',
                occupied: 1,
                reserved: 0,
                unknown: 0,
                outOfService: 0,
              },
              perPowerLevel: [{ phases: 3, ...level(22, 1, 1), tags: ['fast'] }],
              until: null,
            },
            last: true,
          },
        ],
        chargingAvailability: 'u',
        source: ['x'],
      }),
    )
  })
})

/** The same filter, implemented in another way: in place on a copy, from the back. */
function reference(availability: Availability, filter: Filter): unknown {
  const copy = structuredClone(availability) as unknown as { connectors: Record<string, unknown>[] }
  const { minPowerKW: min, maxPowerKW: max } = filter
  for (let at = copy.connectors.length - 1; at >= 0; at--) {
    const one = copy.connectors[at] as { type: string; total: unknown; availability: Record<string, unknown> }
    if (filter.types !== null && ![...filter.types].includes(one.type)) {
      copy.connectors.splice(at, 1)
      continue
    }
    if (min === null && max === null) continue
    const rows = [one.availability['perPowerLevel']].flat() as ({ powerKW?: unknown } | null)[]
    const inside = Array.isArray(one.availability['perPowerLevel'])
      ? rows.filter((row) => {
          const kw = row?.powerKW
          return typeof kw === 'number' && !(min !== null && kw < min) && !(max !== null && kw > max)
        })
      : []
    if (inside.length === 0) {
      copy.connectors.splice(at, 1)
      continue
    }
    const { current } = one.availability
    const counted = (isObject(current) ? current : {}) as Record<string, number>
    let total = 0
    const states = ['available', 'occupied', 'reserved', 'unknown', 'outOfService']
    const isCount = (it: unknown, name: string) =>
      isObject(it) && Object.hasOwn(it, name) && typeof it[name] === 'number'
    for (const name of Object.keys(counted)) {
      if (name === 'powerKW' || states.includes(name)) continue
      if (isCount(counted, name) && rows.some((row) => isCount(row, name))) states.push(name)
    }
    for (const name of states) {
      counted[name] = 0
      for (const row of inside as Record<string, unknown>[]) {
        const count = row[name]
        if (typeof count === 'number') counted[name] += count
      }
      total += counted[name]
    }
    one.total = total
    one.availability['current'] = counted
    one.availability['perPowerLevel'] = inside
  }
  return copy
}

/** Members in any order, values exact. */
const text = (value: unknown) =>
  JSON.stringify(value, (_name, item: unknown) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1))) : item,
  )

await t.test(
  'an independent filter agrees on every station and filter, and no argument is modified',
  async () => {
    fc.assert(
      fc.property(
        anyStation,
        anyFilter,
        (one, filter) => text(filtered(one, filter)) === text(reference(one, filter)),
      ),
      { numRuns: 2_000 },
    )
  },
)

await t.test('a second filtering changes nothing', async () => {
  fc.assert(
    fc.property(anyStation, anyFilter, (one, filter) => {
      const once = filtered(one, filter)
      return text(filtered(once, filter)) === text(once)
    }),
    { numRuns: 500 },
  )
})

const keyOf = (one: Availability, filter: Filter) => variantKey(indexOf(one), filter)

const isBounded = ({ minPowerKW, maxPowerKW }: Filter) => minPowerKW !== null || maxPowerKW !== null

/** Every connector with a total that no count gives, so that a recount is always visible. */
const miscounted = (one: Availability): Availability => ({
  ...one,
  connectors: one.connectors.map((item) => ({ ...item, total: 'not a count' })),
})

await t.test('variantKey identifies the result of a filter', async (t) => {
  const pair = fc.tuple(anyStation, anyFilter, anyFilter)

  await t.test('filters with equal keys give equal answers', async () => {
    fc.assert(
      fc.property(
        pair,
        ([one, a, b]) => keyOf(one, a) !== keyOf(one, b) || text(filtered(one, a)) === text(filtered(one, b)),
      ),
      { numRuns: 3_000 },
    )
  })

  await t.test('filters with different keys give different answers', async () => {
    fc.assert(
      fc.property(pair, ([any, a, b]) => {
        const one = miscounted(any)
        return keyOf(one, a) === keyOf(one, b) || text(filtered(one, a)) !== text(filtered(one, b))
      }),
      { numRuns: 3_000 },
    )
  })

  await t.test('a bound that keeps all rows recomputes counts, so its key is not UNFILTERED', async (t) => {
    const one = referenceStation()
    t.not(keyOf(one, power(0, null)), UNFILTERED)
    t.equal(keyOf(one, power(0, null)), keyOf(one, power(null, 50)))
    t.equal(
      keyOf(one, power(0, null)),
      keyOf(one, { ...power(22.2, 50), types: new Set(['IEC62196Type2Outlet']) }),
    )
  })

  await t.test(
    'the key is UNFILTERED without a filter, with a set of all types, and for a station without connectors',
    async (t) => {
      t.equal(keyOf(place, NO_FILTER), UNFILTERED)
      t.equal(keyOf(place, types('Type2', 'CCS', 'Rowless')), UNFILTERED)
      t.equal(keyOf(place, types('Rowless', 'NoSuchType', 'CCS', 'Type2')), UNFILTERED)
      t.not(keyOf(place, types('Type2', 'CCS')), UNFILTERED)
      t.strictSame(
        [NO_FILTER, types('A'), power(1, 2)].map((filter) => keyOf(station('empty'), filter)),
        [UNFILTERED, UNFILTERED, UNFILTERED],
      )
    },
  )

  await t.test('the key is UNFILTERED exactly if the filter changes nothing', async () => {
    fc.assert(
      fc.property(anyStation, anyFilter, (one, filter) => {
        const changes =
          one.connectors.length > 0 &&
          (isBounded(filter) || one.connectors.some(({ type }) => filter.types?.has(type) === false))
        return (keyOf(one, filter) === UNFILTERED) === !changes
      }),
      { numRuns: 1_000 },
    )
  })

  await t.test('a removed connector and removed rows give different keys', async (t) => {
    const one = station(
      's',
      connector('A', level(11), level(22)),
      connector('B', level(11)),
      connector('C', level(22)),
    )
    const filters = [
      NO_FILTER,
      types('A'),
      types('B'),
      types('C'),
      types('A', 'B'),
      types('NoSuchType'),
      power(null, 11),
      power(22, null),
      power(0, null),
      { ...power(22, null), types: new Set(['A']) },
      { ...power(11, null), types: new Set(['A']) },
    ]
    t.equal(new Set(filters.map((filter) => keyOf(one, filter))).size, filters.length)
    t.equal(
      keyOf(one, types('NoSuchType')),
      keyOf(one, power(99, null)),
      'the key of an empty result is always the same',
    )
  })

  await t.test('the index contains types and powers alone', async (t) => {
    t.strictSame(indexOf(place), [
      { type: 'Type2', powers: [11, 22] },
      { type: 'CCS', powers: [50, 150, 350] },
      { type: 'Rowless', powers: [] },
    ])
    const rows = [null, { powerKW: '1' }, 1, [], { powerKW: 1 }]
    const [index] = indexOf(station('s', odd({ perPowerLevel: rows })))
    t.strictSame(index?.powers, [Number.NaN, 1, Number.NaN], 'one NaN for all rows that are no objects')
  })
})

await t.test('the examples of the docstring are right', async (t) => {
  const index = [
    { type: 'CCS', powers: [50, 150] },
    { type: 'Type2', powers: [22] },
  ]
  t.equal(variantKey(index, power(100, null)), 0b1_01_0_1)
  t.equal(variantKey(index, types('Type2')), 0b1_00_1_0)
  t.equal(variantKey(index, types('CCS', 'Type2')), UNFILTERED)
})

await t.test('the key is a number up to 27 rows, and a text with more', async (t) => {
  const keyFor = (rows: number, from: number, powerFilter: PowerFilter = 'levels') => {
    const powers = Array.from({ length: rows }, (_, i) => i)
    return variantKey([{ type: 'CCS', powers }], power(from, null), powerFilter)
  }
  t.equal(keyFor(26, 25), 2 ** 27 + 2)
  t.equal(keyFor(27, 26), 2 ** 28 + 2)
  t.equal(keyFor(28, 27), `${2 ** 27},6`)
  t.equal(keyFor(28, 0), UNFILTERED)
  const bounds = Array.from({ length: 1_000 }, (_, i) => i)
  t.equal(new Set(bounds.map((from) => keyFor(999, from, 'recount'))).size, 1_000, 'one for each result')
})

await t.test('the states are those of the reference, in its order', async (t) => {
  t.strictSame([...COUNTS], ['available', 'occupied', 'reserved', 'unknown', 'outOfService'])
})

await t.test('a state that the reference does not name is recomputed as well', async (t) => {
  const row = (powerKW: number, blocked?: number) => ({
    ...level(powerKW, 1),
    phases: 3,
    ...(blocked === undefined ? {} : { blocked }),
  })
  const current = { available: 2, occupied: 0, reserved: 0, unknown: 0, outOfService: 0, blocked: 5 }
  const filteredCounts = (rows: object[], counts: object) => {
    const one = station('s', odd({ current: counts, perPowerLevel: rows }, { total: 7 }))
    const [kept] = filtered(one, power(20, null)).connectors
    return [kept?.total, kept?.availability.current]
  }

  await t.test('if current has it and a row has it', async (t) => {
    t.strictSame(filteredCounts([row(11, 2), row(22, 3)], current), [
      4,
      { ...current, available: 1, blocked: 3 },
    ])
  })

  await t.test('if only a row that is dropped has it', async (t) => {
    t.strictSame(filteredCounts([row(11, 5), row(22)], current), [
      1,
      { ...current, available: 1, blocked: 0 },
    ])
  })

  await t.test('a number that only rows have, or only current, is no state', async (t) => {
    const { blocked: _, ...without } = current
    t.strictSame(filteredCounts([row(11, 2), row(22, 3)], without), [1, { ...without, available: 1 }])
    t.strictSame(filteredCounts([row(11), row(22)], current), [1, { ...current, available: 1 }])
  })
})

await t.test('the other readings of a power bound', async (t) => {
  const [type2, ccs] = place.connectors as [Connector, Connector]
  const withRows = (one: Connector, ...perPowerLevel: unknown[]) => ({
    ...one,
    availability: { ...one.availability, perPowerLevel },
  })
  const rows = (one: Connector) => one.availability.perPowerLevel as unknown[]

  await t.test('levels keeps the rows within the range and the counts as they are', async (t) => {
    t.strictSame(filterAvailability(deepFreeze(place), power(22, 150), 'levels').connectors, [
      withRows(type2, rows(type2)[1]),
      withRows(ccs, rows(ccs)[0], rows(ccs)[1]),
    ])
  })

  await t.test('connectors keeps a connector with a row within the range as it is', async (t) => {
    t.strictSame(filterAvailability(place, power(50, 150), 'connectors').connectors, [ccs])
    t.strictSame(filterAvailability(place, power(0, null), 'connectors').connectors, [type2, ccs])
  })

  await t.test('none of them keeps a connector without a row within the range', async (t) => {
    t.strictSame(
      POWER_FILTERS.map((one) => filterAvailability(place, power(1_000, null), one)),
      POWER_FILTERS.map(() => station('place')),
    )
  })

  await t.test('all of them treat a set of types alike', async (t) => {
    t.strictSame(
      POWER_FILTERS.map((one) => filterAvailability(place, types('CCS'), one)),
      POWER_FILTERS.map(() => station('place', ccs)),
    )
  })

  for (const powerFilter of POWER_FILTERS) {
    await t.test(`variantKey has the same key exactly for equal answers under ${powerFilter}`, async () => {
      const result = (one: Availability, filter: Filter) => text(filterAvailability(one, filter, powerFilter))
      fc.assert(
        fc.property(anyStation, anyFilter, anyFilter, (any, a, b) => {
          const one = miscounted(any)
          const index = indexOf(one)
          const [keyA, keyB] = [variantKey(index, a, powerFilter), variantKey(index, b, powerFilter)]
          return (keyA === keyB) === (result(one, a) === result(one, b))
        }),
        { numRuns: 2_000 },
      )
    })

    await t.test(`the key UNFILTERED means that nothing changes under ${powerFilter}`, async () => {
      fc.assert(
        fc.property(
          anyStation,
          anyFilter,
          (one, filter) =>
            variantKey(indexOf(one), filter, powerFilter) !== UNFILTERED ||
            text(filterAvailability(one, filter, powerFilter)) === text(one),
        ),
        { numRuns: 1_000 },
      )
    })
  }
})
