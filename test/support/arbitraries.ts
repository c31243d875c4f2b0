import * as fc from 'fast-check'
import type { Availability, Connector } from '../../src/availability/model.ts'
import { COUNTS } from '../../src/availability/model.ts'
import type { Filter } from '../../src/availability/query.ts'

/** Few types and powers, so that random filters match random stations. */
const TYPES = ['IEC62196Type2Outlet', 'IEC62196Type2CCS', 'Chademo', 'BrandNew'] as const
const POWERS = [0, 3.7, 11, 22, 22.2, 50, 350] as const

/** Any sequence of UTF-16 units: controls, lone surrogates and non-characters included. */
export const hostileText: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0xffff }),
      fc.constantFrom(0, 9, 10, 13, 0x26, 0x3c, 0x3e, 0x5d, 0xd800, 0xdfff, 0xfffe),
    ),
    { maxLength: 24 },
  )
  .map((units) => String.fromCharCode(...units))

/** A value that JSON.parse may return, without prototype members. */
export const jsonValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    fc.constantFrom(null, true, false, 0, 1, -7, 22.2, 1e21, 5e-7),
    hostileText,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'powerKW', 'item', 'naïve', '1'), tie('value'), {
      maxKeys: 3,
      noNullPrototype: true,
    }),
  ),
})).value

const unknownMembers = fc.dictionary(fc.constantFrom('operator', 'x-new', 'note'), jsonValue, {
  maxKeys: 2,
  noNullPrototype: true,
})

const counts = fc.record(
  Object.fromEntries(
    COUNTS.map((name) => [
      name,
      fc.oneof({ weight: 5, arbitrary: fc.nat({ max: 4 }) }, fc.constantFrom(null, '2', 0.5, {})),
    ]),
  ),
  { requiredKeys: [], noNullPrototype: true },
)

/** A row, sometimes of an undocumented shape. */
const row = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(...POWERS), counts, unknownMembers)
      .map(([powerKW, some, more]) => ({ powerKW, ...some, ...more })),
  },
  { weight: 1, arbitrary: counts },
  { weight: 1, arbitrary: fc.constantFrom(null, 'row', 7, [], { powerKW: '22' }, { powerKW: null }) },
)

const levels = fc.oneof(
  { weight: 6, arbitrary: fc.array(row, { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(null, 'none', 3, { powerKW: 22 }) },
)

const connector: fc.Arbitrary<Connector> = fc
  .record(
    {
      type: fc.constantFrom(...TYPES),
      total: fc.oneof(fc.nat({ max: 9 }), fc.constantFrom(null, '3')),
      current: fc.oneof({ weight: 5, arbitrary: counts }, fc.constantFrom(null, [], 'many')),
      perPowerLevel: levels,
      more: unknownMembers,
    },
    { requiredKeys: ['type', 'more'], noNullPrototype: true },
  )
  .map(({ type, more, total, ...availability }) => ({
    type,
    ...(total === undefined ? {} : { total }),
    availability,
    ...more,
  }))

/** Stations of every shape that decode accepts, documented or not. */
export const anyStation: fc.Arbitrary<Availability> = fc
  .tuple(fc.array(connector, { maxLength: 4 }), fc.stringMatching(/^[a-z0-9-]{1,20}$/), unknownMembers)
  .map(([connectors, chargingAvailability, more]) => ({ connectors, chargingAvailability, ...more }))

const bound = fc.option(fc.constantFrom(...POWERS, 12.5, 1_000), { nil: null })

/** Filters that parseQuery may return: bounds in order, sets never empty. */
export const anyFilter: fc.Arbitrary<Filter> = fc
  .tuple(
    fc.option(fc.subarray([...TYPES, 'NoSuchType'], { minLength: 1 }), { nil: null }),
    fc.tuple(bound, bound),
  )
  .map(([types, [a, b]]) => ({
    types: types === null ? null : new Set(types),
    minPowerKW: a !== null && b !== null ? Math.min(a, b) : a,
    maxPowerKW: a !== null && b !== null ? Math.max(a, b) : b,
  }))

/** The filter that keeps everything. */
export const NO_FILTER: Filter = { types: null, minPowerKW: null, maxPowerKW: null }

/** Makes later writes to any part of a value throw. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) deepFreeze(member)
    Object.freeze(value)
  }
  return value
}
