import * as fc from 'fast-check'
import t from 'tap'
import type { Query } from '../../src/availability/query.ts'
import { MAX_ID_LENGTH, MAX_TYPE_LENGTH, parseQuery } from '../../src/availability/query.ts'
import { ServiceError } from '../../src/errors.ts'

const ID = '75502858-a491-36fe-7128-23d400153b86'
const station = (rest: string) => `chargingAvailability=${ID}&${rest}`

/** The error that a query is refused with. */
function refusal(raw: string): ServiceError {
  try {
    parseQuery(raw)
  } catch (error) {
    if (error instanceof ServiceError) return error
    throw error
  }
  throw new Error(`accepted: ${raw}`)
}

/** Code and public sentence of a refusal. */
const told = (raw: string) => {
  const { status, code, message } = refusal(raw)
  return { status, code, message }
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

await t.test('chargingAvailability', async (t) => {
  await t.test('is all that is required', async (t) => {
    t.strictSame(parseQuery(`chargingAvailability=${ID}`), {
      id: ID,
      types: null,
      minPowerKW: null,
      maxPowerKW: null,
    })
  })

  await t.test('missing or empty is MissingParameter, with both sentences of the reference', async (t) => {
    for (const raw of [
      '',
      '&',
      'key=k',
      'chargingAvailability',
      'chargingAvailability=',
      '=x',
      'minPowerKW=1',
    ]) {
      t.strictSame(told(raw), missing, raw)
    }
    t.equal(refusal('').detail, "Missing required parameter 'chargingAvailability'.")
  })

  await t.test('its name is case-sensitive', async (t) => {
    for (const name of ['chargingavailability', 'ChargingAvailability', 'CHARGINGAVAILABILITY']) {
      t.strictSame(told(`${name}=${ID}`), missing, name)
    }
  })

  await t.test('its name may be percent-encoded', async (t) => {
    t.equal(parseQuery(`%63hargingAvailability=${ID}`).id, ID)
  })

  await t.test('a second question mark belongs to the name, which then is another', async (t) => {
    t.strictSame(told(`?chargingAvailability=${ID}`), missing)
  })

  await t.test('given twice is refused, even with the same value or an empty one', async (t) => {
    for (const again of [ID, 'other', '']) {
      t.strictSame(
        told(`chargingAvailability=${again}&chargingAvailability=${ID}`),
        invalid('chargingAvailability'),
      )
      t.strictSame(
        told(`chargingAvailability=${ID}&chargingAvailability=${again}`),
        invalid('chargingAvailability'),
      )
    }
  })

  await t.test('has 1 to 128 UTF-16 units', async (t) => {
    t.equal(MAX_ID_LENGTH, 128)
    for (const length of [1, 2, 127, 128]) t.equal(idOf('a'.repeat(length)).length, length)
    for (const length of [129, 130, 10_000]) {
      t.strictSame(told(`chargingAvailability=${'a'.repeat(length)}`), invalid('chargingAvailability'))
    }
  })

  await t.test('an astral character counts as two units', async (t) => {
    const astral = encodeURIComponent('😀')
    t.equal(idOf(astral.repeat(64)), '😀'.repeat(64))
    t.strictSame(told(`chargingAvailability=${astral.repeat(64)}a`), invalid('chargingAvailability'))
    t.strictSame(told(`chargingAvailability=${astral.repeat(65)}`), invalid('chargingAvailability'))
  })

  await t.test('no control character: C0, DEL, C1', async (t) => {
    const controls = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f]
    for (let code = 0x80; code <= 0x9f; code++) controls.push(code)
    for (const code of controls) {
      const encoded = encodeURIComponent(`a${String.fromCharCode(code)}b`)
      t.strictSame(
        told(`chargingAvailability=${encoded}`),
        invalid('chargingAvailability'),
        code.toString(16),
      )
    }
    for (const code of [0x20, 0x7e, 0xa0, 0x2028, 0xfeff, 0xfffd]) {
      const text = `a${String.fromCodePoint(code)}b`
      t.equal(idOf(encodeURIComponent(text)), text, code.toString(16))
    }
  })

  await t.test('is opaque and case-sensitive: nothing is trimmed, folded or normalized', async (t) => {
    for (const id of [
      '1',
      ' ',
      ' a ',
      'A',
      'a',
      '400012345678901',
      'Ab_-'.repeat(5),
      'é',
      'e\u0301',
      '\ufeffa',
    ]) {
      t.equal(idOf(encodeURIComponent(id)), id)
    }
  })

  await t.test('several ids joined by commas are one id', async (t) => {
    t.equal(idOf('a,b'), 'a,b')
    t.equal(idOf('a%2Cb'), 'a,b')
  })

  await t.test('a plus is a space and %2B a plus', async (t) => {
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
    t.strictSame(told(station('connectorSet=A;B')), invalid('connectorSet'))
  })

  await t.test('raw bytes over 0x7f, as Node hands them on, are UTF-8', async (t) => {
    for (const id of ['café', '充電', '😀-1', '\ufeffa']) {
      t.equal(idOf(Buffer.from(id).toString('latin1')), id)
    }
  })

  await t.test('raw bytes that are no UTF-8 are refused', async (t) => {
    for (const bytes of ['caf\u00e9', '\u00ff', '\u00c3', '\u00ed\u00a0\u0080', '\u00c0\u00af']) {
      t.strictSame(told(`chargingAvailability=${bytes}`), malformed, JSON.stringify(bytes))
    }
  })

  await t.test('a half written raw and half escaped is one character', async (t) => {
    t.equal(idOf('caf\u00c3%A9'), 'café')
  })
})

await t.test('a query that does not decode', async (t) => {
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

  await t.test('is refused whichever parameter it is in, the ignored ones too', async (t) => {
    for (const text of broken) {
      for (const raw of [
        `chargingAvailability=${text}`,
        station(`connectorSet=${text}`),
        station(`minPowerKW=${text}`),
        station(`maxPowerKW=${text}`),
        station(`key=${text}`),
        station(`unknown=${text}`),
        station(`${text}=1`),
        station(text),
      ]) {
        t.strictSame(told(raw), malformed, raw)
      }
    }
  })

  await t.test('is told as such before anything else that is wrong', async (t) => {
    t.strictSame(told('minPowerKW=abc&x=%'), malformed)
  })

  await t.test('percent signs that decode are fine', async (t) => {
    t.equal(idOf('100%25'), '100%')
    t.equal(idOf('%2500'), '%00')
    t.equal(idOf('%c3%a9'), 'é')
  })
})

await t.test('connectorSet', async (t) => {
  await t.test(
    'names separated by commas, escaped or not, the parameter repeated, or both: the union',
    async (t) => {
      for (const raw of [
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
      ]) {
        t.strictSame(typesOf(raw), ['A', 'B'], raw)
      }
      t.strictSame(typesOf('connectorSet=B,A'), ['B', 'A'])
    },
  )

  await t.test('all empty is as if absent', async (t) => {
    for (const raw of [
      '',
      'connectorSet',
      'connectorSet=',
      'connectorSet=,',
      'connectorSet=,,&connectorSet=%2C',
    ]) {
      t.equal(typesOf(raw), null, raw)
    }
  })

  await t.test('a name has 1 to 64 letters and digits', async (t) => {
    t.equal(MAX_TYPE_LENGTH, 64)
    for (const length of [1, 63, 64])
      t.strictSame(typesOf(`connectorSet=${'A'.repeat(length)}`), ['A'.repeat(length)])
    for (const length of [65, 1_000]) {
      t.strictSame(told(station(`connectorSet=${'A'.repeat(length)}`)), invalid('connectorSet'))
    }
    t.strictSame(typesOf('connectorSet=azAZ09'), ['azAZ09'])
  })

  await t.test('anything else in a name is refused', async (t) => {
    for (const name of [
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
    ]) {
      t.strictSame(told(station(`connectorSet=${name}`)), invalid('connectorSet'), name)
      t.strictSame(told(station(`connectorSet=Good,${name}`)), invalid('connectorSet'), name)
      t.strictSame(told(station(`connectorSet=Good&connectorSet=${name}`)), invalid('connectorSet'), name)
    }
  })

  await t.test('an unknown name is no error, and case makes a difference', async (t) => {
    t.strictSame(typesOf('connectorSet=NoSuchType'), ['NoSuchType'])
    t.strictSame(typesOf('connectorSet=Chademo,CHADEMO'), ['Chademo', 'CHADEMO'])
  })

  await t.test('the PHP spelling is another parameter and ignored', async (t) => {
    t.equal(typesOf('connectorSet[]=A&connectorSet%5B%5D=B'), null)
  })
})

for (const name of ['minPowerKW', 'maxPowerKW'] as const) {
  await t.test(name, async (t) => {
    await t.test('is a decimal number', async (t) => {
      for (const [text, value] of [
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
      ] as const) {
        t.equal(parseQuery(station(`${name}=${text}`))[name], value, text)
      }
    })

    await t.test('anything else is refused', async (t) => {
      for (const text of [
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
      ]) {
        t.strictSame(told(station(`${name}=${text}`)), invalid(name), text)
      }
      t.strictSame(told(station(name)), invalid(name), 'without a value')
    })

    await t.test('given twice is refused, even with the same value', async (t) => {
      t.strictSame(told(station(`${name}=22&${name}=22`)), invalid(name))
      t.strictSame(told(station(`${name}=22&${name}=`)), invalid(name))
    })

    await t.test('its name is case-sensitive', async (t) => {
      t.equal(parseQuery(station(`${name.toLowerCase()}=abc`))[name], null)
    })
  })
}

await t.test('the two bounds', async (t) => {
  await t.test('may be equal, however they are spelled', async (t) => {
    for (const [min, max] of [
      ['22', '22'],
      ['22.0', '2.2e1'],
      ['0', '0'],
      ['0', '0.0'],
    ]) {
      const query = parseQuery(station(`minPowerKW=${min}&maxPowerKW=${max}`))
      t.equal(query.minPowerKW, query.maxPowerKW)
    }
  })

  await t.test('min over max is refused, by numbers and not by text', async (t) => {
    for (const [min, max] of [
      ['22.2', '22.1'],
      ['100', '22'],
      ['1', '0'],
      ['1e1', '9'],
    ]) {
      t.strictSame(told(station(`minPowerKW=${min}&maxPowerKW=${max}`)), invalid('minPowerKW'))
    }
    t.match(parseQuery(station('minPowerKW=9&maxPowerKW=22')), { minPowerKW: 9, maxPowerKW: 22 })
  })
})

await t.test('the rest', async (t) => {
  await t.test('key is ignored: absent, empty, repeated, odd', async (t) => {
    const plain = parseQuery(`chargingAvailability=${ID}`)
    for (const noise of ['key', 'key=', 'key=k', 'key=a&key=b', 'key=%00', `key=${'k'.repeat(5_000)}`]) {
      t.strictSame(parseQuery(station(noise)), plain, noise.slice(0, 20))
    }
  })

  await t.test('unknown parameters are ignored, and so are names that objects inherit', async (t) => {
    const plain = parseQuery(`chargingAvailability=${ID}`)
    for (const noise of [
      'a=b',
      '&&&',
      '=',
      'apiVersion=1&language=de&id=2',
      '__proto__=x',
      'constructor=x',
      'ext=xml',
    ]) {
      t.strictSame(parseQuery(station(noise)), plain, noise)
    }
  })

  await t.test('no refusal repeats a value', async (t) => {
    const canary = 'cAnArY7734'
    for (const raw of [
      `chargingAvailability=${canary}%00`,
      `chargingAvailability=${canary}&chargingAvailability=${canary}`,
      `chargingAvailability=${canary.repeat(20)}`,
      `chargingAvailability=&key=${canary}`,
      station(`connectorSet=${canary}-`),
      station(`minPowerKW=${canary}`),
      station(`maxPowerKW=1&maxPowerKW=${canary}`),
      station(`x=${canary}%`),
      `${canary}=1`,
    ]) {
      const error = refusal(raw)
      for (const text of [error.message, error.detail, error.reason ?? '', error.stack ?? '']) {
        t.notMatch(text, canary)
      }
      t.equal(error.cause, undefined)
    }
  })

  await t.test('bounds are refused without their numbers', async (t) => {
    const { message, detail } = refusal(station('minPowerKW=7734&maxPowerKW=12'))
    t.notMatch(message + detail, /7734|12/)
  })
})

const NUMBERS = [
  { value: null, spellings: [] },
  { value: 22, spellings: ['22', '22.0', '22.', '2.2e1', '2.2E%2B1', '%32%32', '0022'] },
  { value: 50.5, spellings: ['50.5', '50.50', '.505e2', '505e-1', '50%2E5'] },
] as const

/** One of the many ways in which a text may stand in a query. */
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

await t.test('every spelling of a query is the same query', async () => {
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

await t.test('ids made of delimiters come out as they went in, so no two become one', async () => {
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

await t.test('whatever comes, it is a query within the rules or a 400', async () => {
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
