import * as fc from 'fast-check'
import t from 'tap'
import type { Query } from '../../src/availability/query.ts'
import { MAX_ID_LENGTH, MAX_TYPE_LENGTH, parseQuery } from '../../src/availability/query.ts'
import { ServiceError } from '../../src/errors.ts'

const ID = '75502858-a491-36fe-7128-23d400153b86'
const station = (rest: string) => `chargingAvailability=${ID}&${rest}`

/** The error for an invalid query. */
function errorOf(raw: string): ServiceError {
  try {
    parseQuery(raw)
  } catch (error) {
    if (error instanceof ServiceError) return error
    throw error
  }
  throw new Error(`accepted: ${raw}`)
}

/** Status, code and public message of the error. */
const publicError = (raw: string) => {
  const { status, code, message } = errorOf(raw)
  return { status, code, message }
}

/** The same for many queries, by query. */
const publicErrors = (raws: readonly string[]) => byKey(raws, publicError)

/** One value for each key, computed or the same, for comparisons of whole tables. */
function byKey<T>(keys: readonly string[], value: ((key: string) => T) | T): Record<string, T> {
  return Object.fromEntries(
    keys.map((key) => [key, typeof value === 'function' ? (value as (key: string) => T)(key) : value]),
  )
}

const invalid = (name: string) => ({
  status: 400,
  code: 'InvalidParameter',
  message: `Invalid parameter '${name}'`,
})
const missing = {
  status: 400,
  code: 'MissingParameter',
  message: "Missing parameter 'chargingAvailability'",
}
const malformed = { status: 400, code: 'InvalidParameter', message: 'Malformed request' }

const idOf = (encoded: string) => parseQuery(`chargingAvailability=${encoded}`).id
const typesOf = (raw: string) => {
  const { types } = parseQuery(station(raw))
  return types === null ? null : [...types]
}

await t.test('chargingAvailability is the id of the station', async (t) => {
  await t.test('the id is the only required parameter', async (t) => {
    t.strictSame(parseQuery(`chargingAvailability=${ID}`), {
      id: ID,
      types: null,
      minPowerKW: null,
      maxPowerKW: null,
    })
  })

  await t.test(
    'a missing or empty id is MissingParameter, with both sentences of the reference',
    async (t) => {
      const raws = ['', '&', 'key=k', 'chargingAvailability', 'chargingAvailability=', '=x', 'minPowerKW=1']
      t.strictSame(publicErrors(raws), byKey(raws, missing))
      t.equal(errorOf('').detail, "Missing required parameter 'chargingAvailability'.")
    },
  )

  await t.test('the name of the parameter is case-sensitive', async (t) => {
    const names = ['chargingavailability', 'ChargingAvailability', 'CHARGINGAVAILABILITY']
    const raws = names.map((name) => `${name}=${ID}`)
    t.strictSame(publicErrors(raws), byKey(raws, missing))
  })

  await t.test('the name of the parameter may be percent-encoded', async (t) => {
    t.equal(parseQuery(`%63hargingAvailability=${ID}`).id, ID)
  })

  await t.test('a second question mark is part of the name', async (t) => {
    t.strictSame(publicError(`?chargingAvailability=${ID}`), missing)
  })

  await t.test('a repeated id is invalid, even with the same value or an empty one', async (t) => {
    const raws = [ID, 'other', ''].flatMap((again) => [
      `chargingAvailability=${again}&chargingAvailability=${ID}`,
      `chargingAvailability=${ID}&chargingAvailability=${again}`,
    ])
    t.strictSame(publicErrors(raws), byKey(raws, invalid('chargingAvailability')))
  })

  await t.test('an id has 1 to 128 UTF-16 units', async (t) => {
    t.equal(MAX_ID_LENGTH, 128)
    const lengths = [1, 2, 127, 128]
    t.strictSame(
      lengths.map((length) => idOf('a'.repeat(length)).length),
      lengths,
    )
    const raws = [129, 130, 10_000].map((length) => `chargingAvailability=${'a'.repeat(length)}`)
    t.strictSame(publicErrors(raws), byKey(raws, invalid('chargingAvailability')))
  })

  await t.test('an astral character counts as two units', async (t) => {
    const astral = encodeURIComponent('😀')
    t.equal(idOf(astral.repeat(64)), '😀'.repeat(64))
    t.strictSame(publicError(`chargingAvailability=${astral.repeat(64)}a`), invalid('chargingAvailability'))
    t.strictSame(publicError(`chargingAvailability=${astral.repeat(65)}`), invalid('chargingAvailability'))
  })

  await t.test('an id has no control character: C0, DEL, C1', async (t) => {
    const controls = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f]
    for (let code = 0x80; code <= 0x9f; code++) controls.push(code)
    const raws = controls.map(
      (code) => `chargingAvailability=${encodeURIComponent(`a${String.fromCharCode(code)}b`)}`,
    )
    t.strictSame(publicErrors(raws), byKey(raws, invalid('chargingAvailability')))
    const valid = [0x20, 0x7e, 0xa0, 0x2028, 0xfeff, 0xfffd].map((code) => `a${String.fromCodePoint(code)}b`)
    t.strictSame(
      valid.map((id) => idOf(encodeURIComponent(id))),
      valid,
    )
  })

  await t.test('an id is opaque: it is not trimmed, case-folded or normalized', async (t) => {
    const ids = ['1', ' ', ' a ', 'A', 'a', '400012345678901', 'Ab_-'.repeat(5), 'é', 'e\u0301', '\ufeffa']
    t.strictSame(
      ids.map((id) => idOf(encodeURIComponent(id))),
      ids,
    )
  })

  await t.test('several ids joined by commas are one id', async (t) => {
    t.equal(idOf('a,b'), 'a,b')
    t.equal(idOf('a%2Cb'), 'a,b')
  })

  await t.test('a plus is decoded as a space, and %2B as a plus', async (t) => {
    t.equal(idOf('a+b'), 'a b')
    t.equal(idOf('a%20b'), 'a b')
    t.equal(idOf('a%2Bb'), 'a+b')
  })

  await t.test('everything after the first equals sign belongs to the value', async (t) => {
    t.equal(idOf('a=b=='), 'a=b==')
  })

  await t.test('a semicolon is data, not a delimiter', async (t) => {
    t.equal(idOf('a;chargingAvailability=b'), 'a;chargingAvailability=b')
    t.equal(idOf('a;minPowerKW=abc'), 'a;minPowerKW=abc')
    t.strictSame(publicError(station('connectorSet=A;B')), invalid('connectorSet'))
  })

  await t.test('raw bytes over 0x7f are decoded as UTF-8', async (t) => {
    const ids = ['café', '充電', '😀-1', '\ufeffa']
    t.strictSame(
      ids.map((id) => idOf(Buffer.from(id).toString('latin1'))),
      ids,
    )
  })

  await t.test('raw bytes that are not UTF-8 are invalid', async (t) => {
    const raws = ['caf\u00e9', '\u00ff', '\u00c3', '\u00ed\u00a0\u0080', '\u00c0\u00af'].map(
      (bytes) => `chargingAvailability=${bytes}`,
    )
    t.strictSame(publicErrors(raws), byKey(raws, malformed))
  })

  await t.test('a character may be half raw and half percent-encoded', async (t) => {
    t.equal(idOf('caf\u00c3%A9'), 'café')
  })
})

await t.test('a query that cannot be decoded is malformed', async (t) => {
  const broken = [
    '%',
    '%2',
    '%zz',
    '%2x',
    '%u0041',
    '%FF',
    '%C3',
    '%C3%28',
    '%ED%A0%80',
    '%C0%AF',
    '%F5%80%80%80',
    '%A9',
  ]

  await t.test('bad encoding is malformed in every parameter, ignored ones too', async (t) => {
    const raws = broken.flatMap((text) => [
      `chargingAvailability=${text}`,
      station(`connectorSet=${text}`),
      station(`minPowerKW=${text}`),
      station(`maxPowerKW=${text}`),
      station(`key=${text}`),
      station(`unknown=${text}`),
      station(`${text}=1`),
      station(text),
    ])
    t.strictSame(publicErrors(raws), byKey(raws, malformed))
  })

  await t.test('bad encoding is reported before any invalid parameter', async (t) => {
    t.strictSame(publicError('minPowerKW=abc&x=%'), malformed)
  })

  await t.test('percent signs that can be decoded are valid', async (t) => {
    t.equal(idOf('100%25'), '100%')
    t.equal(idOf('%2500'), '%00')
    t.equal(idOf('%c3%a9'), 'é')
  })
})

await t.test('connectorSet is a set of connector types', async (t) => {
  await t.test(
    'names may be separated by commas, the parameter may be repeated, and the result is the union',
    async (t) => {
      const raws = [
        'connectorSet=A,B',
        'connectorSet=A%2CB',
        'connectorSet=A%2cB',
        'connectorSet=A&connectorSet=B',
        'connectorSet=A,B&connectorSet=A',
        'connectorSet=A,A,B,B',
        'connectorSet=,A,,B,',
        'connectorSet=&connectorSet=A&connectorSet=&connectorSet=B',
        'connectorSet=%41,%42',
        'connector%53et=A,B',
      ]
      t.strictSame(byKey(raws, typesOf), byKey(raws, ['A', 'B']))
      t.strictSame(typesOf('connectorSet=B,A'), ['B', 'A'])
    },
  )

  await t.test('an empty set is the same as no parameter', async (t) => {
    const raws = ['', 'connectorSet', 'connectorSet=', 'connectorSet=,', 'connectorSet=,,&connectorSet=%2C']
    t.strictSame(byKey(raws, typesOf), byKey(raws, null))
  })

  await t.test('a type name has 1 to 64 letters and digits', async (t) => {
    t.equal(MAX_TYPE_LENGTH, 64)
    const names = [1, 63, 64].map((length) => 'A'.repeat(length))
    t.strictSame(
      names.map((name) => typesOf(`connectorSet=${name}`)),
      names.map((name) => [name]),
    )
    const raws = [65, 1_000].map((length) => station(`connectorSet=${'A'.repeat(length)}`))
    t.strictSame(publicErrors(raws), byKey(raws, invalid('connectorSet')))
    t.strictSame(typesOf('connectorSet=azAZ09'), ['azAZ09'])
  })

  await t.test('other characters in a type name are invalid', async (t) => {
    const names = [
      'A B',
      'A+B',
      '+A',
      'A%20',
      'A-B',
      'A_B',
      'A.B',
      'A%0A',
      '%C3%A9',
      '%D9%A1',
      'A%00',
      '*',
      "'",
      '%5B%5D',
    ]
    const raws = names.flatMap((name) => [
      station(`connectorSet=${name}`),
      station(`connectorSet=Good,${name}`),
      station(`connectorSet=Good&connectorSet=${name}`),
    ])
    t.strictSame(publicErrors(raws), byKey(raws, invalid('connectorSet')))
  })

  await t.test('an unknown type is valid, and names are case-sensitive', async (t) => {
    t.strictSame(typesOf('connectorSet=NoSuchType'), ['NoSuchType'])
    t.strictSame(typesOf('connectorSet=Chademo,CHADEMO'), ['Chademo', 'CHADEMO'])
  })

  await t.test('the PHP syntax connectorSet[] is another parameter and ignored', async (t) => {
    t.equal(typesOf('connectorSet[]=A&connectorSet%5B%5D=B'), null)
  })
})

for (const name of ['minPowerKW', 'maxPowerKW'] as const) {
  await t.test(`${name} is a bound in kW`, async (t) => {
    await t.test('a bound is a decimal number', async (t) => {
      const values: Record<string, number> = Object.fromEntries([
        ['22', 22],
        ['22.2', 22.2],
        ['22.0', 22],
        ['022', 22],
        ['5.', 5],
        ['.5', 0.5],
        ['0', 0],
        ['0.0', 0],
        ['2.2e1', 22],
        ['2.2E1', 22],
        ['2.2e%2B1', 22],
        ['220e-1', 22],
        ['%32%32', 22],
        ['1e%2B21', 1e21],
        ['1.7976931348623157e308', Number.MAX_VALUE],
        ['1e-400', 0],
        ['0e999', 0],
        [`${'0'.repeat(400)}7`, 7],
      ])
      t.strictSame(
        byKey(Object.keys(values), (text) => parseQuery(station(`${name}=${text}`))[name]),
        values,
      )
    })

    await t.test('any other text is invalid', async (t) => {
      const texts = [
        '',
        '1e400',
        '9'.repeat(400),
        '0x10',
        '0b1',
        '0o7',
        'NaN',
        'Infinity',
        '-1',
        '-0',
        '-1e-400',
        '%2B5',
        '+5',
        '%205',
        '5%20',
        '5+',
        '5%0A',
        '1e+21',
        '22,2',
        '1_000',
        '22kW',
        '.',
        'e5',
        '1e',
        '1e1.5',
        '1.2.3',
        '22%00',
        '%D9%A2',
        'null',
        '1n',
      ]
      const raws = [...texts.map((text) => station(`${name}=${text}`)), station(name)]
      t.strictSame(publicErrors(raws), byKey(raws, invalid(name)))
    })

    await t.test('a repeated bound is invalid, even with the same value', async (t) => {
      t.strictSame(publicError(station(`${name}=22&${name}=22`)), invalid(name))
      t.strictSame(publicError(station(`${name}=22&${name}=`)), invalid(name))
    })

    await t.test('the name of a bound is case-sensitive', async (t) => {
      t.equal(parseQuery(station(`${name.toLowerCase()}=abc`))[name], null)
    })
  })
}

await t.test('the two bounds form an interval', async (t) => {
  await t.test('the bounds may be equal in any notation', async (t) => {
    const bounds = [
      ['22', '22'],
      ['22.0', '2.2e1'],
      ['0', '0'],
      ['0', '0.0'],
    ].map(([min, max]) => {
      const { minPowerKW, maxPowerKW } = parseQuery(station(`minPowerKW=${min}&maxPowerKW=${max}`))
      return [minPowerKW, maxPowerKW]
    })
    t.strictSame(bounds, [
      [22, 22],
      [22, 22],
      [0, 0],
      [0, 0],
    ])
  })

  await t.test('a minimum over the maximum is invalid, compared as numbers', async (t) => {
    const raws = [
      ['22.2', '22.1'],
      ['100', '22'],
      ['1', '0'],
      ['1e1', '9'],
    ].map(([min, max]) => station(`minPowerKW=${min}&maxPowerKW=${max}`))
    t.strictSame(publicErrors(raws), byKey(raws, invalid('minPowerKW')))
    t.match(parseQuery(station('minPowerKW=9&maxPowerKW=22')), { minPowerKW: 9, maxPowerKW: 22 })
  })
})

await t.test('the example of the docstring is right', async (t) => {
  t.strictSame(parseQuery('chargingAvailability=a%20b&connectorSet=CCS,Type2&minPowerKW=22&key=x'), {
    id: 'a b',
    types: new Set(['CCS', 'Type2']),
    minPowerKW: 22,
    maxPowerKW: null,
  })
})

await t.test('other parameters are ignored', async (t) => {
  await t.test('key may be absent, empty, repeated or odd', async (t) => {
    const plain = parseQuery(`chargingAvailability=${ID}`)
    const ignored = ['key', 'key=', 'key=k', 'key=a&key=b', 'key=%00', `key=${'k'.repeat(5_000)}`]
    t.strictSame(
      ignored.map((text) => parseQuery(station(text))),
      ignored.map(() => plain),
    )
  })

  await t.test('unknown parameters have no effect, nor have names that objects inherit', async (t) => {
    const plain = parseQuery(`chargingAvailability=${ID}`)
    const ignored = [
      'a=b',
      '&&&',
      '=',
      'apiVersion=1&language=de&id=2',
      '__proto__=x',
      'constructor=x',
      'ext=xml',
    ]
    t.strictSame(
      ignored.map((text) => parseQuery(station(text))),
      ignored.map(() => plain),
    )
  })

  await t.test('no error contains a value of the query', async (t) => {
    const canary = 'cAnArY7734'
    const errors = [
      `chargingAvailability=${canary}%00`,
      `chargingAvailability=${canary}&chargingAvailability=${canary}`,
      `chargingAvailability=${canary.repeat(20)}`,
      `chargingAvailability=&key=${canary}`,
      station(`connectorSet=${canary}-`),
      station(`minPowerKW=${canary}`),
      station(`maxPowerKW=1&maxPowerKW=${canary}`),
      station(`x=${canary}%`),
      `${canary}=1`,
    ].map(errorOf)
    const texts = errors.flatMap(({ message, detail, reason, stack }) => [message, detail, reason, stack])
    t.strictSame(
      texts.filter((text) => text?.includes(canary)),
      [],
    )
    t.strictSame(
      errors.filter(({ cause }) => cause !== undefined),
      [],
    )
  })

  await t.test('the error for the bounds does not contain their numbers', async (t) => {
    const { message, detail } = errorOf(station('minPowerKW=7734&maxPowerKW=12'))
    t.notMatch(message + detail, /7734|12/)
  })
})

const NUMBERS = [
  { value: null, spellings: [] },
  { value: 22, spellings: ['22', '22.0', '22.', '2.2e1', '2.2E%2B1', '%32%32', '0022'] },
  { value: 50.5, spellings: ['50.5', '50.50', '.505e2', '505e-1', '50%2E5'] },
] as const

/** A text in one of its many encodings. */
function spell(text: string, choose: () => number): string {
  return Array.from(text, (character) => {
    const bytes = [...Buffer.from(character)]
    if (/^[A-Za-z0-9]$/.test(character) && choose() < 2) return character
    if (character === ' ' && choose() < 2) return '+'
    return bytes
      .map((byte) => {
        if (byte > 0x7f && choose() === 0) return String.fromCharCode(byte)
        const hex = byte.toString(16).padStart(2, '0')
        return `%${choose() % 2 === 0 ? hex : hex.toUpperCase()}`
      })
      .join('')
  }).join('')
}

await t.test('every encoding of a query gives the same query', async () => {
  const id = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  const types = fc.subarray(['A', 'Type2', 'NoSuch'])
  fc.assert(
    fc.property(
      id,
      types,
      fc.constantFrom(...NUMBERS),
      fc.constantFrom(...NUMBERS.slice(0, 2)),
      fc.infiniteStream(fc.nat({ max: 3 })),
      (id, types, max, min, stream) => {
        const choose = () => stream.next().value as number
        const pick = (spellings: readonly string[]) => spellings[choose() % spellings.length] ?? ''
        const named = (name: string, value: string) => `${spell(name, choose)}=${value}`
        const parts = [named('chargingAvailability', spell(id, choose))]
        let rest = types.map((type) => spell(type, choose))
        if (choose() === 0) rest = rest.concat(rest, [''])
        while (rest.length > 0) {
          const some = rest.splice(0, 1 + choose())
          parts.push(named('connectorSet', some.join(choose() < 2 ? ',' : '%2C')))
        }
        if (min.value !== null) parts.push(named('minPowerKW', pick(min.spellings)))
        if (max.value !== null) parts.push(named('maxPowerKW', pick(max.spellings)))
        if (choose() === 0) parts.push('key=k', '', 'other')
        const shuffled = parts.map((part) => [choose(), part] as const).toSorted(([a], [b]) => a - b)
        const query = parseQuery(shuffled.map(([, part]) => part).join('&'))
        const expected: Query = {
          id,
          types: types.length === 0 ? null : new Set(types),
          minPowerKW: min.value,
          maxPowerKW: max.value,
        }
        return (
          query.id === expected.id &&
          query.minPowerKW === expected.minPowerKW &&
          query.maxPowerKW === expected.maxPowerKW &&
          [...(query.types ?? [])].toSorted().join() === [...(expected.types ?? [])].toSorted().join()
        )
      },
    ),
    { numRuns: 500 },
  )
})

await t.test('ids made of delimiters are decoded to what was encoded, so no two become one', async () => {
  const delimiters = fc.constantFrom(
    '&',
    '=',
    ';',
    '#',
    '?',
    '%',
    '+',
    ' ',
    '|',
    ':',
    '/',
    ',',
    '"',
    '\\',
    'é',
    '%00',
    '%26',
    'a',
  )
  const id = fc.array(delimiters, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(id, fc.nat({ max: 1 }), (id, spaces) => {
      const encoded = encodeURIComponent(id)
      return idOf(spaces === 0 ? encoded : encoded.replaceAll('%20', '+')) === id
    }),
    { numRuns: 1_000 },
  )
})

await t.test('any text is a query within the rules or a 400', async () => {
  const latin1 = fc.array(fc.integer({ min: 0x21, max: 0xff })).map((codes) => String.fromCharCode(...codes))
  const pieces = fc.constantFrom(
    'chargingAvailability=',
    'connectorSet=',
    'minPowerKW=',
    'maxPowerKW=',
    '&',
    '%',
    ',',
    '1',
    'e',
  )
  const raw = fc.array(fc.oneof(pieces, latin1), { maxLength: 12 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(raw, (raw) => {
      try {
        const { id, types, minPowerKW, maxPowerKW } = parseQuery(raw)
        return (
          id.length >= 1 &&
          id.length <= 128 &&
          id.isWellFormed() &&
          (types === null ||
            (types.size > 0 && [...types].every((type) => /^[A-Za-z0-9]{1,64}$/.test(type)))) &&
          [minPowerKW, maxPowerKW].every(
            (power) => power === null || (Number.isFinite(power) && power >= 0),
          ) &&
          (minPowerKW ?? 0) <= (maxPowerKW ?? Number.POSITIVE_INFINITY)
        )
      } catch (error) {
        return error instanceof ServiceError && error.status === 400
      }
    }),
    { numRuns: 1_000 },
  )
})

await t.test(
  'a parameter that is often confused with chargingAvailability is named in the error',
  async (t) => {
    const detailOf = (query: string): string => {
      try {
        parseQuery(query)
        return 'no error'
      } catch (error) {
        return `${(error as ServiceError).message} / ${(error as ServiceError).detail}`
      }
    }
    const plain =
      "Missing parameter 'chargingAvailability' / Missing required parameter 'chargingAvailability'."
    const hint = (name: string) =>
      `${plain} '${name}' was given; the parameter is called 'chargingAvailability'.`
    const cases: [query: string, expected: string][] = [
      ['chargingAvailabilityId=SECRET', hint('chargingAvailabilityId')],
      ['key=k&chargingAvailability.id=SECRET', hint('chargingAvailability.id')],
      ['chargingAvailability%2Eid=SECRET', hint('chargingAvailability.id')],
      ['id=SECRET&connectorSet=A', hint('id')],
      ['id', hint('id')],
      ['chargingAvailability=&id=SECRET', hint('id')],
      ['ID=SECRET', plain],
      ['ids=SECRET', plain],
      ['note=id=SECRET', plain],
      ['', plain],
      ['chargingAvailability=a&id=SECRET&chargingAvailabilityId=SECRET', 'no error'],
    ]
    t.strictSame(
      cases.map(([query]) => [query, detailOf(query)]),
      cases,
    )
  },
)
