import * as fc from 'fast-check'
import t from 'tap'
import { UNFILTERED, filterAvailability, indexOf, variantKey } from '../../src/availability/filter.ts'
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

/** Filters a frozen copy, so that every case also proves that the argument is not written to. */
function filtered(availability: Availability, filter: Filter): Availability {
  return filterAvailability(deepFreeze(structuredClone(availability)), filter)
}

/** The powers that are left, connector by connector. */
function powersLeft(availability: Availability, filter: Filter): unknown[] {
  return indexOf(filtered(availability, filter)).map(({ type, powers }) => [type, ...powers])
}

/** A connector as upstream might send it, with whatever in its availability. */
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

await t.test('without a filter', async (t) => {
  await t.test('the answer is the very one that came in', async (t) => {
    for (const one of [place, referenceStation(), station('empty')])
      t.equal(filterAvailability(one, NO_FILTER), one)
  })
})

await t.test('by type', async (t) => {
  await t.test('keeps what is in the set, in the order of the answer', async (t) => {
    t.strictSame(powersLeft(place, types('CCS', 'Type2')), [
      ['Type2', 11, 22],
      ['CCS', 50, 150, 350],
    ])
  })

  await t.test('keeps every connector of a type that occurs twice', async (t) => {
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

  await t.test('an unknown connector type matches nothing and is no error', async (t) => {
    t.strictSame(filtered(place, types('NoSuchType')), station('place'))
  })

  await t.test('compares exactly', async (t) => {
    t.strictSame(powersLeft(place, types('ccs', 'Type', 'Type22', ' CCS')), [])
  })

  await t.test('names that every object inherits match nothing', async (t) => {
    t.strictSame(powersLeft(place, types('constructor', 'toString', 'hasOwnProperty')), [])
  })

  await t.test('passes on what it keeps as it came, odd counts and missing rows too', async (t) => {
    const rough = station('rough', odd({ current: null, perPowerLevel: 'none' }, { total: '7', note: [1] }))
    t.strictSame(filtered(rough, types('Odd')), rough)
    t.strictSame(filtered(place, types('Rowless', 'CCS', 'Type2')), place)
  })
})

await t.test('by power', async (t) => {
  await t.test('the interval is closed at both ends', async (t) => {
    t.strictSame(powersLeft(place, power(22, 150)), [
      ['Type2', 22],
      ['CCS', 50, 150],
    ])
    t.strictSame(powersLeft(place, power(22, 22)), [['Type2', 22]])
    t.strictSame(powersLeft(place, power(22.000000000000004, 49.99999999999999)), [])
  })

  await t.test('a side that is not given is open', async (t) => {
    t.strictSame(powersLeft(place, power(150, null)), [['CCS', 150, 350]])
    t.strictSame(powersLeft(place, power(null, 11)), [['Type2', 11]])
    t.strictSame(powersLeft(station('s', connector('A', level(0), level(1e308))), power(0, null)), [
      ['A', 0, 1e308],
    ])
    t.strictSame(powersLeft(station('s', connector('A', level(-1), level(5))), power(null, 22)), [
      ['A', -1, 5],
    ])
  })

  await t.test('counts total and current again from the rows that stay', async (t) => {
    const [type2] = filtered(place, power(22, null)).connectors
    t.strictSame(type2, connector('Type2', level(22, 1, 1)))
    const [ccs] = filtered(place, power(100, null)).connectors
    t.strictSame(ccs, connector('CCS', level(150, 0, 2), level(350, 3, 0)))
  })

  await t.test('counts every state', async (t) => {
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

  await t.test('counts again even when every row stays', async (t) => {
    const wrong = { ...connector('A', level(22, 1, 1)), total: 99 }
    t.strictSame(filtered(station('s', wrong), power(0, null)), station('s', connector('A', level(22, 1, 1))))
  })

  await t.test('drops a connector with no row left', async (t) => {
    t.strictSame(filtered(place, power(1_000, null)), station('place'))
  })

  await t.test('drops a connector without rows, even if the bound would keep all', async (t) => {
    for (const perPowerLevel of [[], null, undefined, 'none', 3, {}, { 0: { powerKW: 22 }, length: 1 }]) {
      t.strictSame(filtered(station('s', odd({ perPowerLevel })), power(0, null)), station('s'))
    }
    t.strictSame(filtered(station('s', odd({})), power(null, 1e308)), station('s'))
  })

  await t.test('rows without a numeric power lie inside no range', async (t) => {
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

  await t.test('a missing or non-numeric count counts as 0, and its row stays as it came', async (t) => {
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
  })

  await t.test('counts that are no object are replaced', async (t) => {
    for (const current of [null, undefined, 5, 'many', [9]]) {
      const one = station('s', odd({ current, perPowerLevel: [level(22, 1)] }))
      const [kept] = filtered(one, power(22, null)).connectors
      t.strictSame(kept?.availability.current, {
        available: 1,
        occupied: 0,
        reserved: 0,
        unknown: 0,
        outOfService: 0,
      })
    }
  })
})

await t.test('by both', async (t) => {
  await t.test('a connector must pass by type and by power', async (t) => {
    t.strictSame(powersLeft(place, { types: new Set(['CCS', 'Rowless']), minPowerKW: 20, maxPowerKW: 60 }), [
      ['CCS', 50],
    ])
  })
})

await t.test('what we do not know', async (t) => {
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

  await t.test('is kept at every level, and so is the order of members', async (t) => {
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

/** The same filter, written down a second time and differently: on a copy, from the back, in place. */
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
    for (const name of ['available', 'occupied', 'reserved', 'unknown', 'outOfService']) {
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
  'an independent filter agrees on every station and filter, and nothing is written to',
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

await t.test('filtering twice is filtering once', async () => {
  fc.assert(
    fc.property(anyStation, anyFilter, (one, filter) => {
      const once = filtered(one, filter)
      return text(filtered(once, filter)) === text(once)
    }),
    { numRuns: 500 },
  )
})

const kept = (one: Availability, filter: Filter) => variantKey(indexOf(one), filter)

const isBounded = ({ minPowerKW, maxPowerKW }: Filter) => minPowerKW !== null || maxPowerKW !== null

/** Every connector with a total that no counting gives: then a recount always shows. */
const miscounted = (one: Availability): Availability => ({
  ...one,
  connectors: one.connectors.map((item) => ({ ...item, total: 'as it came' })),
})

await t.test('survivors', async (t) => {
  const pair = fc.tuple(anyStation, anyFilter, anyFilter)

  await t.test('equal for two filters: the answers are equal', async () => {
    fc.assert(
      fc.property(
        pair,
        ([one, a, b]) => kept(one, a) !== kept(one, b) || text(filtered(one, a)) === text(filtered(one, b)),
      ),
      { numRuns: 3_000 },
    )
  })

  await t.test('different for two filters: the answers differ', async () => {
    fc.assert(
      fc.property(pair, ([any, a, b]) => {
        const one = miscounted(any)
        return kept(one, a) === kept(one, b) || text(filtered(one, a)) !== text(filtered(one, b))
      }),
      { numRuns: 3_000 },
    )
  })

  await t.test('a bound that keeps all rows still counts again, and so differs from no filter', async (t) => {
    const one = referenceStation()
    t.not(kept(one, power(0, null)), UNFILTERED)
    t.equal(kept(one, power(0, null)), kept(one, power(null, 50)))
    t.equal(
      kept(one, power(0, null)),
      kept(one, { ...power(22.2, 50), types: new Set(['IEC62196Type2Outlet']) }),
    )
  })

  await t.test(
    'are EVERYTHING without a filter, with a set of all types, and for a station without connectors',
    async (t) => {
      t.equal(kept(place, NO_FILTER), UNFILTERED)
      t.equal(kept(place, types('Type2', 'CCS', 'Rowless')), UNFILTERED)
      t.equal(kept(place, types('Rowless', 'NoSuchType', 'CCS', 'Type2')), UNFILTERED)
      t.not(kept(place, types('Type2', 'CCS')), UNFILTERED)
      for (const filter of [NO_FILTER, types('A'), power(1, 2)])
        t.equal(kept(station('empty'), filter), UNFILTERED)
    },
  )

  await t.test('are EVERYTHING exactly when nothing changes by rule', async () => {
    fc.assert(
      fc.property(anyStation, anyFilter, (one, filter) => {
        const changes =
          one.connectors.length > 0 &&
          (isBounded(filter) || one.connectors.some(({ type }) => filter.types?.has(type) === false))
        return (kept(one, filter) === UNFILTERED) === !changes
      }),
      { numRuns: 1_000 },
    )
  })

  await t.test('a connector that falls is told from one whose rows fall', async (t) => {
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
    t.equal(new Set(filters.map((filter) => kept(one, filter))).size, filters.length)
    t.equal(kept(one, types('NoSuchType')), kept(one, power(99, null)), 'nothing left is nothing left')
  })

  await t.test('look at types and powers alone', async (t) => {
    t.strictSame(indexOf(place), [
      { type: 'Type2', powers: [11, 22] },
      { type: 'CCS', powers: [50, 150, 350] },
      { type: 'Rowless', powers: [] },
    ])
    const [outline] = indexOf(station('s', odd({ perPowerLevel: [null, { powerKW: '1' }, { powerKW: 1 }] })))
    t.strictSame(outline?.powers, [Number.NaN, Number.NaN, 1])
  })
})

await t.test('the states are those of the reference, in its order', async (t) => {
  t.strictSame([...COUNTS], ['available', 'occupied', 'reserved', 'unknown', 'outOfService'])
})
