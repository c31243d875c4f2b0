import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import type { Test } from 'tap'
import t from 'tap'
import { decodeAvailability, MAX_DEPTH } from '../../src/availability/decode.ts'
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

/** What a body is refused with; undefined when it is taken. */
function refusal(text: string, id = '1'): unknown {
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

await t.test('an answer', async (t) => {
  await t.test("the reference's own are taken, member for member", async (t) => {
    const sample = referenceStation()
    t.strictSame(decodeAvailability(fixture('reference.json'), sample.chargingAvailability), sample)
    t.strictSame(decode(fixture('reference-empty.json')), station('1'))
  })

  await t.test('connector types and members that we do not know are taken', async (t) => {
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
    for (const availability of [
      '{}',
      '{"perPowerLevel":null}',
      '{"perPowerLevel":"none"}',
      '{"perPowerLevel":[null,7,{}]}',
      '{"current":null}',
      '{"current":{"available":"2"},"perPowerLevel":[{"powerKW":"22"}]}',
    ]) {
      const text = withConnectors(`{"type":"A","total":"3","availability":${availability}}`)
      t.strictSame(decode(text), JSON.parse(text), availability)
    }
  })

  await t.test('whitespace around it and a byte order mark before it do no harm', async (t) => {
    t.strictSame(decode(`\r\n ${body()} \n`), station('1'))
    t.strictSame(decode(`\ufeff${body()}`), station('1'))
  })

  await t.test('the id is compared as it was decoded', async (t) => {
    t.equal(
      decodeAvailability('{"connectors":[],"chargingAvailability":"\\u0061"}', 'a').chargingAvailability,
      'a',
    )
  })
})

function refused(t: Test, cases: Record<string, string>): void {
  for (const [name, text] of Object.entries(cases)) t.ok(isUpstreamFailed(refusal(text)), name)
}

await t.test('no answer', async (t) => {
  await t.test('what is no JSON', async (t) => {
    refused(t, {
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
    })
  })

  await t.test('what was cut off, wherever', async (t) => {
    const whole = JSON.stringify(referenceStation('1'))
    for (let length = 0; length < whole.length; length++) {
      if (!isUpstreamFailed(refusal(whole.slice(0, length)))) t.fail(`taken when cut at ${length}`)
    }
    t.strictSame(decode(whole), referenceStation('1'))
  })

  await t.test('what is JSON and no object', async (t) => {
    refused(t, {
      null: 'null',
      true: 'true',
      number: '1',
      string: '"1"',
      array: '[]',
      'answer in an array': `[${body()}]`,
    })
  })

  await t.test('what is about another station, or about none', async (t) => {
    for (const id of ['"2"', '"1 "', '" 1"', '"01"', '1', 'null', '["1"]', '{"1":"1"}', '""']) {
      t.ok(isUpstreamFailed(refusal(`{"connectors":[],"chargingAvailability":${id}}`)), id)
    }
    t.ok(isUpstreamFailed(refusal('{"connectors":[]}')))
    t.ok(isUpstreamFailed(refusal('{"connectors":[],"chargingAvailability":"A"}', 'a')), 'case')
    t.ok(
      isUpstreamFailed(refusal('{"connectors":[],"chargingAvailability":"é"}', 'e\u0301')),
      'normalization',
    )
    t.ok(isUpstreamFailed(refusal('{"connectors":[],"ChargingAvailability":"1"}')), 'case of the member')
  })

  await t.test('an error told with 200', async (t) => {
    refused(t, {
      'with a code':
        '{"detailedError":{"code":"Forbidden","message":"You are not allowed to access this endpoint"}}',
      'with a status': '{"message":"x","httpStatusCode":"400"}',
      'with the id': '{"chargingAvailability":"1","error":"over quota"}',
    })
  })

  await t.test('connectors that are no array of objects with a type and an availability', async (t) => {
    for (const connectors of ['null', '{}', '"A"', '0', '{"length":0}']) {
      t.ok(isUpstreamFailed(refusal(`{"chargingAvailability":"1","connectors":${connectors}}`)), connectors)
    }
    for (const connector of [
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
    ]) {
      t.ok(isUpstreamFailed(refusal(withConnectors(connector))), connector)
      t.ok(
        isUpstreamFailed(refusal(withConnectors('{"type":"A","availability":{}}', connector))),
        `${connector} second`,
      )
    }
  })

  await t.test('prototype members, however deep and however escaped', async (t) => {
    for (const member of [
      '"__proto__":null',
      '"__proto__":{"isAdmin":true}',
      '"\\u005f\\u005fproto\\u005F_":1',
      '"__pr\\u006fto__" : 1',
      '"constructor":{"prototype":{}}',
      '"constructor" : {"a":1,"prototype":null}',
      '"constr\\u0075ctor":{"protot\\u0079pe":1}',
    ]) {
      t.ok(isUpstreamFailed(refusal(body(member))), member)
      t.ok(isUpstreamFailed(refusal(body(`"a":[{"b":{${member}}}]`))), `deeper: ${member}`)
      t.ok(
        isUpstreamFailed(refusal(withConnectors(`{"type":"A","availability":{${member}}}`))),
        `connector: ${member}`,
      )
    }
    t.equal(({} as Record<string, unknown>)['isAdmin'], undefined)
  })

  await t.test('says why, for the log, and repeats neither body nor id to clients', async (t) => {
    const canary = 'cAnArY7734'
    for (const text of [
      canary,
      `"${canary}"`,
      `{"chargingAvailability":"${canary}"}`,
      body(`"__proto__":"${canary}"`),
    ]) {
      const error = refusal(text) as ServiceError
      t.match(error, { code: 'UpstreamFailed', status: 502, reason: /^not an answer: / })
      t.notMatch(`${error.message}${error.detail}${error.reason}`, canary)
    }
    t.equal(
      (refusal('<h1>') as ServiceError).cause,
      undefined,
      'not even by the parser, whose message quotes it',
    )
  })
})

/** A body nested this deep, counting itself. */
const nested = (depth: number, open = '[', close = ']') =>
  body(`"a":${open.repeat(depth - 1)}${close.repeat(depth - 1)}`)

/** The same in objects. */
const nestedObjects = (depth: number) => body(`"a":${'{"a":'.repeat(depth - 2)}{}${'}'.repeat(depth - 2)}`)

await t.test('depth', async (t) => {
  await t.test('is taken up to the limit and refused over it', async (t) => {
    for (const depth of [2, MAX_DEPTH - 1, MAX_DEPTH])
      t.equal(refusal(nested(depth)), undefined, String(depth))
    for (const depth of [MAX_DEPTH + 1, MAX_DEPTH + 2, 1_000])
      t.ok(isUpstreamFailed(refusal(nested(depth))), String(depth))
  })

  await t.test('objects count as arrays do', async (t) => {
    t.equal(refusal(nestedObjects(MAX_DEPTH)), undefined)
    t.ok(isUpstreamFailed(refusal(nestedObjects(MAX_DEPTH + 1))))
  })

  await t.test('200,000 nested brackets are refused, closed or not, and overflow no stack', async (t) => {
    const open = '['.repeat(200_000)
    const closed = open + ']'.repeat(200_000)
    for (const text of [
      open,
      closed,
      body(`"a":${closed}`),
      body(`"a":${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`),
    ]) {
      t.ok(isUpstreamFailed(refusal(text)))
    }
    t.ok(isUpstreamFailed(refusal(body(`"__proto__":${closed}`))), 'with a prototype member')
  })
})

await t.test('size', async (t) => {
  const MIB = 2 ** 20
  const fill = (piece: string) =>
    Array.from({ length: Math.floor(MIB / (piece.length + 1)) }, () => piece).join(',')

  await t.test('1 MiB of anything flat is read in no time', async (t) => {
    for (const [name, text] of Object.entries({
      zeros: body(`"a":[${fill('0')}]`),
      'empty arrays': body(`"a":[${fill('[]')}]`),
      'empty objects': body(`"a":[${fill('{}')}]`),
      members: body(`"a":{${fill('"b":0')}}`),
      'one string': body(`"a":"${'x'.repeat(MIB)}"`),
      escapes: body(`"a":"${'\\u005f'.repeat(MIB / 6)}"`),
      'almost prototype members': body(`"a":[${fill('{"__proto_":0}')}]`),
      'constructors without a prototype': body(`"a":[${fill('{"constructor":{}}')}]`),
      connectors: withConnectors(fill('{"type":"A","availability":{}}')),
      'a number of a million digits': body(`"a":${'9'.repeat(MIB)}`),
      whitespace: `${' '.repeat(MIB)}${body()}`,
    })) {
      const start = performance.now()
      t.equal(refusal(text), undefined, name)
      t.ok(performance.now() - start < 2_000, `${name}: in time`)
    }
  })
})

await t.test('a broken answer is an answer still, or UpstreamFailed, and never anything else', async () => {
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

await t.test('any JSON is an answer or UpstreamFailed', async () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => isUpstreamFailed(refusal(text))),
    { numRuns: 500 },
  )
})
