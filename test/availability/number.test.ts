import * as fc from 'fast-check'
import t from 'tap'
import { formatDouble } from '../../src/availability/number.ts'

await t.test('a double is written as upstream writes it', async (t) => {
  await t.test('a double always has a fraction', async (t) => {
    const doubles = [
      [50, '50.0'],
      [22.2, '22.2'],
      [0, '0.0'],
      [-0, '0.0'],
      [-5, '-5.0'],
      [3.7, '3.7'],
      [0.1 + 0.2, '0.30000000000000004'],
      [1e20, '100000000000000000000.0'],
      [1e21, '1.0e+21'],
      [1.5e21, '1.5e+21'],
      [5e-7, '5.0e-7'],
      [1.25e-7, '1.25e-7'],
      [Number.MAX_VALUE, '1.7976931348623157e+308'],
      [Number.MIN_VALUE, '5.0e-324'],
    ] as const
    t.strictSame(
      doubles.map(([value]) => formatDouble(value)),
      doubles.map(([, text]) => text),
    )
  })

  await t.test('a double is parsed as the same number', async () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = formatDouble(value)
        return Number(text) === value && JSON.parse(text) === value && /^-?\d+\.\d+(e[+-]\d+)?$/.test(text)
      }),
    )
  })

  await t.test('a value that JSON has no number for is null', async (t) => {
    const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    t.strictSame(values.map(formatDouble), ['null', 'null', 'null'])
  })
})
