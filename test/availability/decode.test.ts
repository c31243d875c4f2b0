import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import t from 'tap'
import { decodeAvailability, MAX_CONTAINERS, MAX_DEPTH, MAX_NAMES } from '../../src/availability/decode.ts'
import { ServiceError } from '../../src/errors.ts'
import { anyStation } from '../support/arbitraries.ts'
import { referenceStation, station } from '../support/stations.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')

/** A body about station `1` with more members, as text. */
const body = (...members: string[]) =>
  `{${['"chargingAvailability":"1"', '"connectors":[]', ...members].join(',')}}`
/** A body about station `1` with these connectors, as text. */
const withConnectors = (...connectors: string[]) =>
  `{"connectors":[${connectors.join(',')}],"chargingAvailability":"1"}`
const decode = (text: string) => decodeAvailability(text, '1')

/** The error for a body; undefined if it is accepted. */
function errorOf(text: string, id = '1'): unknown {
  try {
    decodeAvailability(text, id)
    return undefined
  } catch (error) {
    return error
  }
}

function isUpstreamFailed(error: unknown): error is ServiceError {
  return error instanceof ServiceError && error.code === 'UpstreamFailed'
}

await t.test('an answer is accepted', async (t) => {
  await t.test("the reference's samples are accepted with all members", async (t) => {
    const sample = referenceStation()
    t.strictSame(decodeAvailability(fixture('reference.json'), sample.chargingAvailability), sample)
    t.strictSame(decode(fixture('reference-empty.json')), station('1'))
  })

  await t.test('undocumented connector types and members are accepted', async (t) => {
    const text = withConnectors(
      '{"type":"FromTheFuture","availability":{"new":[1,{"a":null}]},"more":true}',
      '{"type":"","availability":{}}',
    )
    t.strictSame(decode(text), JSON.parse(text))
    t.strictSame(decode(body('"a":1', '"constructor":"x"', '"prototype":{}', '"toString":null')), {
      ...station('1'),
      a: 1,
      constructor: 'x',
      prototype: {},
      toString: null,
    })
  })

  await t.test('rows and counts may be missing or odd', async (t) => {
    const texts = [
      '{}',
      '{"perPowerLevel":null}',
      '{"perPowerLevel":"none"}',
      '{"perPowerLevel":[null,7,{}]}',
      '{"current":null}',
      '{"current":{"available":"2"},"perPowerLevel":[{"powerKW":"22"}]}',
    ].map((availability) => withConnectors(`{"type":"A","total":"3","availability":${availability}}`))
    t.strictSame(
      texts.map(decode),
      texts.map((text) => JSON.parse(text) as unknown),
    )
  })

  await t.test('whitespace around a body and a byte order mark before it are accepted', async (t) => {
    t.strictSame(decode(`\r\n ${body()} \n`), station('1'))
    t.strictSame(decode(`\ufeff${body()}`), station('1'))
  })

  await t.test('the decoded id is compared', async (t) => {
    t.equal(
      decodeAvailability('{"connectors":[],"chargingAvailability":"\\u0061"}', 'a').chargingAvailability,
      'a',
    )
  })
})

/** The bodies that are not rejected with UpstreamFailed. */
function accepted(bodies: readonly string[]): string[] {
  return bodies.filter((text) => !isUpstreamFailed(errorOf(text)))
}

await t.test('any other body is UpstreamFailed', async (t) => {
  await t.test('a body that is not JSON is rejected', async (t) => {
    const bodies = {
      empty: '',
      blank: ' \n',
      html: '<!doctype html><html><body>It works</body></html>',
      'an older gateway': '<h1>Developer Over Qps</h1>',
      'plain text': 'no healthy upstream',
      xml: fixture('reference.xml'),
      'two bodies': body() + body(),
      'trailing comma': '{"chargingAvailability":"1","connectors":[],}',
      'a comment': `${body()}//`,
      NaN: body('"a":NaN'),
      'single quotes': body("'a':1"),
      'a raw control character': body('"a":"\n"'),
      'a NUL after the end': `${body()}\0`,
      'two byte order marks': `\ufeff\ufeff${body()}`,
    }
    t.strictSame(accepted(Object.values(bodies)), [])
  })

  await t.test('a body that is cut off anywhere is rejected', async (t) => {
    const whole = JSON.stringify(referenceStation('1'))
    t.strictSame(accepted(Array.from(whole, (_, length) => whole.slice(0, length))), [])
    t.strictSame(decode(whole), referenceStation('1'))
  })

  await t.test('JSON that is not an object is rejected', async (t) => {
    t.strictSame(accepted(['null', 'true', '1', '"1"', '[]', `[${body()}]`]), [])
  })

  await t.test('a body with another id, or with none, is rejected', async (t) => {
    const ids = ['"2"', '"1 "', '" 1"', '"01"', '1', 'null', '["1"]', '{"1":"1"}', '""']
    t.strictSame(accepted(ids.map((id) => `{"connectors":[],"chargingAvailability":${id}}`)), [])
    t.ok(isUpstreamFailed(errorOf('{"connectors":[]}')))
    t.ok(isUpstreamFailed(errorOf('{"connectors":[],"chargingAvailability":"A"}', 'a')), 'case')
    t.ok(
      isUpstreamFailed(errorOf('{"connectors":[],"chargingAvailability":"é"}', 'e\u0301')),
      'normalization',
    )
    t.ok(isUpstreamFailed(errorOf('{"connectors":[],"ChargingAvailability":"1"}')), 'case of the member')
  })

  await t.test('an error body with status 200 is rejected', async (t) => {
    const bodies = {
      'with a code':
        '{"detailedError":{"code":"Forbidden","message":"You are not allowed to access this endpoint"}}',
      'with a status': '{"message":"x","httpStatusCode":"400"}',
      'with the id': '{"chargingAvailability":"1","error":"over quota"}',
    }
    t.strictSame(accepted(Object.values(bodies)), [])
  })

  await t.test('connectors must be an array of objects with a type and an availability', async (t) => {
    const values = ['null', '{}', '"A"', '0', '{"length":0}']
    t.strictSame(accepted(values.map((value) => `{"chargingAvailability":"1","connectors":${value}}`)), [])
    const connectors = [
      'null',
      '"A"',
      '1',
      '[]',
      '{}',
      '{"type":"A"}',
      '{"availability":{}}',
      '{"type":null,"availability":{}}',
      '{"type":1,"availability":{}}',
      '{"type":["A"],"availability":{}}',
      '{"type":"A","availability":null}',
      '{"type":"A","availability":[]}',
      '{"type":"A","availability":"many"}',
    ]
    t.strictSame(accepted(connectors.map((connector) => withConnectors(connector))), [])
    const second = connectors.map((connector) => withConnectors('{"type":"A","availability":{}}', connector))
    t.strictSame(accepted(second), [])
  })

  await t.test('prototype members are rejected at any depth and with any escapes', async (t) => {
    const bodies = [
      '"__proto__":null',
      '"__proto__":{"isAdmin":true}',
      '"\\u005f\\u005fproto\\u005F_":1',
      '"__pr\\u006fto__" : 1',
      '"constructor":{"prototype":{}}',
      '"constructor" : {"a":1,"prototype":null}',
      '"constr\\u0075ctor":{"protot\\u0079pe":1}',
    ].flatMap((member) => [
      body(member),
      body(`"a":[{"b":{${member}}}]`),
      withConnectors(`{"type":"A","availability":{${member}}}`),
    ])
    t.strictSame(accepted(bodies), [])
    t.equal(({} as Record<string, unknown>)['isAdmin'], undefined)
  })

  await t.test(
    'the reason names the problem, and no text of the error contains the body or the id',
    async (t) => {
      const canary = 'cAnArY7734'
      const errors = [
        canary,
        `"${canary}"`,
        `{"chargingAvailability":"${canary}"}`,
        body(`"__proto__":"${canary}"`),
      ].map((text) => errorOf(text) as ServiceError)
      t.match(
        errors,
        errors.map(() => ({ code: 'UpstreamFailed', status: 502, reason: /^not an answer: / })),
      )
      t.notMatch(errors.map(({ message, detail, reason }) => message + detail + reason).join(), canary)
      t.equal((errorOf('<h1>') as ServiceError).cause, undefined, 'the message of the parser quotes the body')
    },
  )
})

/** A body nested this deep, counting itself. */
const nested = (depth: number, open = '[', close = ']') =>
  body(`"a":${open.repeat(depth - 1)}${close.repeat(depth - 1)}`)

/** The same in objects. */
const nestedObjects = (depth: number) => body(`"a":${'{"a":'.repeat(depth - 2)}{}${'}'.repeat(depth - 2)}`)

await t.test('the nesting of a body is limited', async (t) => {
  await t.test('bodies are accepted up to the limit and rejected over it', async (t) => {
    const within = [2, MAX_DEPTH - 1, MAX_DEPTH].map((depth) => nested(depth))
    t.strictSame(accepted(within), within)
    t.strictSame(accepted([MAX_DEPTH + 1, MAX_DEPTH + 2, 1_000].map((depth) => nested(depth))), [])
  })

  await t.test('objects count like arrays', async (t) => {
    t.equal(errorOf(nestedObjects(MAX_DEPTH)), undefined)
    t.ok(isUpstreamFailed(errorOf(nestedObjects(MAX_DEPTH + 1))))
  })

  await t.test('200,000 nested brackets are rejected, closed or not, without a stack overflow', async (t) => {
    const open = '['.repeat(200_000)
    const closed = open + ']'.repeat(200_000)
    const bodies = [
      open,
      closed,
      body(`"a":${closed}`),
      body(`"a":${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`),
      body(`"__proto__":${closed}`),
    ]
    t.equal(accepted(bodies).length, 0)
  })
})

await t.test('the objects and arrays of a body are limited in number, before they are parsed', async (t) => {
  const [own] = [body('"a":[]').match(/[[{]/g)?.length ?? 0]
  const withContainers = (count: number) =>
    ['{}', '[]'].map((piece) => body(`"a":[${Array.from({ length: count - own }, () => piece).join(',')}]`))
  const within = [MAX_CONTAINERS - 1, MAX_CONTAINERS].flatMap(withContainers)
  t.strictSame(accepted(within).length, 4)
  t.strictSame(accepted(withContainers(MAX_CONTAINERS + 1)), [])
  t.equal(errorOf(body(`"a":"${'[{\\"'.repeat(MAX_CONTAINERS)}"`)), undefined, 'in a text they count nothing')
  t.ok(isUpstreamFailed(errorOf(`"${'{'.repeat(10)}`)), 'a text without an end')
})

await t.test('the different names of a body are limited in number, before they are parsed', async (t) => {
  const own = 2
  const named = (count: number) => Array.from({ length: count - own }, (_, i) => `"n${i}":1`)
  const inOne = (count: number) => body(...named(count))
  const inMany = (count: number) =>
    body(
      `"n0":[${named(count)
        .map((member) => `{${member}}`)
        .join(',')}]`,
    )
  const within = [MAX_NAMES - 1, MAX_NAMES].flatMap((count) => [inOne(count), inMany(count)])
  t.strictSame(accepted(within), within)
  t.strictSame(accepted([inOne(MAX_NAMES + 1), inMany(MAX_NAMES + 1)]), [])
  const repeated = Array.from(
    { length: 10 },
    () => `{${named(MAX_NAMES).join(' , ').replaceAll(':', ' : ')}}`,
  )
  t.equal(errorOf(body(`"n0":[${repeated.join(',')}]`)), undefined, 'a name that is repeated counts once')
  const texts = Array.from({ length: MAX_NAMES * 2 }, (_, i) => `"n${i}:"`)
  t.equal(errorOf(body(`"n0":[${texts.join(',')}]`)), undefined, 'a text is no name')
})

await t.test("a megabyte in the shape of the reference's sample is accepted", async (t) => {
  const [connector] = referenceStation().connectors
  const text = JSON.stringify(connector)
  const whole = withConnectors(...Array.from({ length: Math.floor(2 ** 20 / (text.length + 1)) }, () => text))
  t.equal(errorOf(whole), undefined)
  const shortest =
    '{"type":"A","total":1,"availability":{"current":{"available":1,"occupied":0,"reserved":0,"unknown":0,"outOfService":0},"perPowerLevel":[{"powerKW":22.0,"available":1,"occupied":0,"reserved":0,"unknown":0,"outOfService":0}]}}'
  const many = Array.from({ length: Math.floor(2 ** 20 / (shortest.length + 1)) }, () => shortest)
  t.equal(errorOf(withConnectors(...many)), undefined)
})

await t.test('large bodies are decoded fast', async (t) => {
  const MIB = 2 ** 20
  const fill = (piece: string, most = Number.POSITIVE_INFINITY) =>
    Array.from({ length: Math.min(most, Math.floor(MIB / (piece.length + 1))) }, () => piece).join(',')

  await t.test('1 MiB of flat JSON, or as many objects as are accepted, takes less than 2 s', async (t) => {
    const bodies = {
      zeros: body(`"a":[${fill('0')}]`),
      members: body(`"a":{${fill('"b":0')}}`),
      'one string': body(`"a":"${'x'.repeat(MIB)}"`),
      escapes: body(`"a":"${'\\u005f'.repeat(MIB / 6)}"`),
      'almost prototype members': body(`"a":[${fill('{"__proto_":0}', MAX_CONTAINERS - 4)}]`),
      'constructors without a prototype': body(`"a":[${fill('{"constructor":{}}', MAX_CONTAINERS / 2 - 4)}]`),
      connectors: withConnectors(fill('{"type":"A","availability":{}}', MAX_CONTAINERS / 2 - 4)),
      'a number of a million digits': body(`"a":${'9'.repeat(MIB)}`),
      whitespace: `${' '.repeat(MIB)}${body()}`,
    }
    const failed = Object.entries(bodies).filter(([, text]) => {
      const start = performance.now()
      return errorOf(text) !== undefined || performance.now() - start > 2_000
    })
    t.strictSame(
      failed.map(([name]) => name),
      [],
    )
  })
})

await t.test('a damaged answer is either accepted or UpstreamFailed', async () => {
  const edit = fc.tuple(
    fc.nat(),
    fc.nat({ max: 6 }),
    fc.constantFrom(
      '',
      '"',
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      'null',
      '0',
      '-',
      '\\',
      '\\u',
      '\0',
      '\ud800',
      '"__proto__":',
      '"constructor":{"prototype":1},',
    ),
  )
  fc.assert(
    fc.property(anyStation, fc.array(edit, { maxLength: 4 }), (one, edits) => {
      let text = JSON.stringify(one)
      for (const [at, cut, put] of edits) {
        const start = at % (text.length + 1)
        text = text.slice(0, start) + put + text.slice(start + cut)
      }
      try {
        return (
          decodeAvailability(text, one.chargingAvailability).chargingAvailability === one.chargingAvailability
        )
      } catch (error) {
        return isUpstreamFailed(error)
      }
    }),
    { numRuns: 2_000 },
  )
})

await t.test('any JSON is either accepted or UpstreamFailed', async () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => isUpstreamFailed(errorOf(text))),
    { numRuns: 500 },
  )
})
