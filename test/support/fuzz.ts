import * as fc from 'fast-check'
import { referenceStation } from './stations.ts'

/*
 * Random inputs of the fuzzer and their oracle, for test/http/hostile.test.ts (fixed seeds) and `npm run fuzz` (any
 * duration). It shares no code with the code under test.
 */

/** A printable character of a target. Bytes from 0x7f on are rejected by the parser: anyRequest has them. */
const rawCharacter = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
const hex = fc.integer({ min: 0, max: 255 }).map((byte) => `%${byte.toString(16).padStart(2, '0')}`)

/** Text in a query: valid, invalid, and nearly valid. */
const anyText = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: fc.stringMatching(/^[A-Za-z0-9.-]{1,6}$/) },
      { weight: 1, arbitrary: rawCharacter.filter((character) => !'#'.includes(character)) },
      { weight: 2, arbitrary: hex },
      { weight: 2, arbitrary: fc.constantFrom('+', '%20', ',', '%2C', '%', '%c3%a9', '%f0%9f%94%8c', '%00') },
    ),
    { maxLength: 6 },
  )
  .map((parts) => parts.join(''))

const length = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.constantFrom(127, 128, 129, 63, 64, 65))
export const anyId = fc.oneof(
  { weight: 4, arbitrary: fc.stringMatching(/^[A-Za-z0-9-]{1,36}$/) },
  { weight: 2, arbitrary: anyText },
  { weight: 1, arbitrary: length.map((count) => 'x'.repeat(count)) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 40, max: 45 }).map((count) => '%f0%9f%94%8c'.repeat(count * 1.5)),
  },
)
const types = fc.oneof(
  fc
    .array(fc.constantFrom('Tesla', 'IEC62196Type2Outlet', '', 'IEC-1'), { maxLength: 4 })
    .map((names) => names.join(',')),
  length.map((count) => 'T'.repeat(count)),
  anyText,
)
const power = fc.oneof(
  fc.constantFrom(
    '22',
    '22.2',
    '5.',
    '.5',
    '2.2e1',
    '2.2E%2B1',
    '2e+1',
    '0',
    '-0',
    '-1',
    '1e400',
    '0x10',
    'NaN',
    '.',
  ),
  fc.constantFrom('', '1e', '%EF%BC%91', '%31', '+1', '1%2b', 'Infinity', '1_0', '00001'),
  fc.double({ min: 0, max: 400, noNaN: true }).map(String),
  anyText,
)

export const anyParameter = fc.oneof(
  { weight: 3, arbitrary: anyId.map((value) => `chargingAvailability=${value}`) },
  { weight: 2, arbitrary: types.map((value) => `connectorSet=${value}`) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom('min', 'max'), power).map(([end, value]) => `${end}PowerKW=${value}`),
  },
  { weight: 1, arbitrary: fc.tuple(anyText, anyText).map(([name, value]) => `${name}=${value}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'key=x',
      '__proto__=x',
      'chargingAvailability',
      '%63hargingAvailability=a',
      ';',
      '=',
    ),
  },
)

/** A query string of the proxied route; sometimes with thousands of parameters. */
export const anyQuery: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 60,
    arbitrary: fc
      .array(anyParameter, { maxLength: 4 })
      .chain((some) =>
        fc
          .tuple(anyId, fc.integer({ min: 0, max: 9 }))
          .map(([value, n]) => (n < 7 ? [`chargingAvailability=${value}`, ...some] : some).join('&')),
      ),
  },
  {
    weight: 20,
    arbitrary: fc
      .array(fc.oneof(rawCharacter, hex), { maxLength: 60 })
      .map((all) => all.join('').replaceAll('#', '')),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('a', '', 'key=k', 'connectorSet=T')
      .map((text) => `chargingAvailability=many${`&${text}`.repeat(2_000)}`),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('&', ';', '=', '&a')
      .map((text) => `chargingAvailability=many${text.repeat(10_000)}`),
  },
)

/**
 * Whether a query is valid: an oracle that works on bytes, without URLSearchParams and without a regular expression for
 * the whole.
 */
export function isValidQuery(query: string): boolean {
  const pairs = query.split('&').map((pair) => {
    const equals = pair.indexOf('=')
    return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)]
  })
  const decoded = pairs.map(([name = '', value = '']) => [bytesOf(name), bytesOf(value)] as const)
  const texts = decoded.map(([name, value]) => [utf8(name), utf8(value)] as const)
  if (texts.some(([name, value]) => name === null || value === null)) return false
  const valuesOf = (parameter: string) =>
    texts.filter(([name]) => name === parameter).map(([, value]) => value as string)

  const ids = valuesOf('chargingAvailability')
  const [station = ''] = ids
  const fits = station.length >= 1 && station.length <= 128
  if (ids.length !== 1 || !fits || Array.from(station).some(isControl)) return false
  const names = valuesOf('connectorSet').flatMap((value) => value.split(','))
  if (!names.every((name) => name.length <= 64 && Array.from(name).every(isLetterOrDigit))) return false
  const bounds = [valuesOf('minPowerKW'), valuesOf('maxPowerKW')]
  if (bounds.some((values) => values.length > 1)) return false
  const [min, max] = bounds.map(([text]) => (text === undefined ? null : decimal(text)))
  if (Number.isNaN(min) || Number.isNaN(max)) return false
  return typeof min !== 'number' || typeof max !== 'number' || min <= max
}

/** The decoded bytes of a part of a query; null if a percent sign is not followed by two digits. */
function bytesOf(text: string): number[] | null {
  const bytes: number[] = []
  for (let i = 0; i < text.length; i++) {
    const character = text[i] as string
    if (character !== '%') bytes.push(character === '+' ? 0x20 : character.charCodeAt(0))
    else {
      const digits = text.slice(i + 1, i + 3).toLowerCase()
      if (digits.length < 2 || !Array.from(digits).every((digit) => '0123456789abcdef'.includes(digit)))
        return null
      bytes.push(Number.parseInt(digits, 16))
      i += 2
    }
  }
  return bytes
}

function utf8(bytes: number[] | null): string | null {
  if (bytes === null) return null
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))
  } catch {
    return null
  }
}

function isControl(character: string): boolean {
  const code = character.codePointAt(0) ?? 0
  return code < 0x20 || (code >= 0x7f && code < 0xa0)
}

function isLetterOrDigit(character: string): boolean {
  return 'abcdefghijklmnopqrstuvwxyz0123456789'.includes(character.toLowerCase()) && character < '{'
}

/** NaN for anything but a finite, non-negative decimal number. */
function decimal(text: string): number {
  const isDigits = (part: string) => Array.from(part).every((digit) => digit >= '0' && digit <= '9')
  const [mantissa = '', exponent, ...more] = text.toLowerCase().split('e')
  const [whole = '', fraction = '', ...dots] = mantissa.split('.')
  const power = exponent?.replace(/^[+-]/, '')
  const isWritten = more.length === 0 && dots.length === 0 && `${whole}${fraction}` !== ''
  const isNumber = isDigits(`${whole}${fraction}`) && power !== '' && isDigits(power ?? '')
  const value = Number(text)
  return isWritten && isNumber && Number.isFinite(value) ? value : Number.NaN
}

/** A request as bytes (Latin-1), mostly nearly valid. */
export const anyRequest: fc.Arbitrary<string> = fc
  .record({
    method: fc.constantFrom(
      'GET',
      'GET',
      'GET',
      'HEAD',
      'POST',
      'OPTIONS',
      'TRACE',
      'PUT',
      'CONNECT',
      'get',
      'FROB',
      '',
    ),
    origin: fc.constantFrom(
      '',
      '',
      '',
      'http://evil.example',
      'HTTP://u:p@evil.example:1',
      'ftp://x',
      '//evil',
      '*',
    ),
    path: fc.constantFrom(
      '/search/2/chargingAvailability.json',
      '/search/2/chargingAvailability.xml',
      '/search/2/chargingAvailability.JSON',
      '/search/2/chargingAvailability.',
      '/search/2/%63hargingAvailability.json',
      '/search/../search/2/chargingAvailability.json',
      '/healthz',
      '/openapi.yaml',
      '/docs',
      '/',
    ),
    query: anyQuery.map((query) => query.slice(0, 3_000)),
    version: fc.constantFrom(
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.0',
      'HTTP/2.0',
      'HTTP/1.1 x',
      'http/1.1',
      '',
    ),
    headers: fc.array(
      fc.constantFrom(
        'Host: proxy.example',
        'Host: proxy.example',
        'Host: proxy.example',
        'Host:',
        'Content-Length: 5',
        'Content-Length: 0',
        'Content-Length: -1',
        'Transfer-Encoding: chunked',
        'Transfer-Encoding: gzip, chunked',
        'Transfer-Encoding : chunked',
        'X-Folded: a\r\n b',
        'Expect: 100-continue',
        'Connection: Upgrade\r\nUpgrade: websocket',
        'Accept-Encoding: gzip',
        'Content-Encoding: gzip',
        'If-None-Match: *, W/"x"',
        'Range: bytes=0-3',
        'Origin: https://app.example',
        'Tracking-ID: <script>',
        'X-Forwarded-Host: evil.example',
        'no colon',
        ': no name',
        'X-Nul: \0',
        `X-Long: ${'y'.repeat(17_000)}`,
      ),
      { maxLength: 5 },
    ),
    end: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', ''),
    body: fc.constantFrom(
      '',
      '',
      '',
      'abcde',
      '5\r\nabcde\r\n0\r\n\r\n',
      '0\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    ),
  })
  .map(
    ({ method, origin, path, query, version, headers, end, body }) =>
      `${method} ${origin}${path}?${query} ${version}\r\n${[...headers, 'Connection: close'].map((line) => `${line}\r\n`).join('')}${end}${body}`,
  )
  .chain((text) =>
    fc.tuple(
      fc.constant(text),
      fc.option(fc.tuple(fc.nat({ max: 400 }), fc.integer({ min: 0, max: 255 })), { freq: 3 }),
    ),
  )
  .map(([text, flip]) => {
    if (flip === null || flip[0] >= text.length) return text
    return text.slice(0, flip[0]) + String.fromCharCode(flip[1]) + text.slice(flip[0] + 1)
  })

const value = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, -1, 1e308, 0.1, '', 'x', '\u0000', '\ud800', [], {}, [[]], {
    a: 1,
  }),
  fc.constantFrom(JSON.parse('{"__proto__":{"x":1}}'), JSON.parse('{"constructor":{"prototype":{"x":1}}}')),
  fc.string({ maxLength: 5 }),
)

/** One change somewhere in a value: a member replaced, dropped, added or doubled. */
const change = fc.tuple(fc.nat({ max: 60 }), fc.constantFrom('replace', 'drop', 'add', 'nest'), value)
type Change = readonly [at: number, how: string, value: unknown]

function changed(root: unknown, [at, how, by]: Change): unknown {
  let left = at
  const visit = (node: unknown): unknown => {
    if (left-- === 0) return how === 'nest' ? [node] : by
    if (Array.isArray(node)) {
      if (how === 'add' && left === 0) return [...node, by]
      return node.map(visit)
    }
    if (typeof node !== 'object' || node === null) return node
    const entries = Object.entries(node).flatMap(([name, child]) =>
      how === 'drop' && left === 0 ? (left--, []) : [[name, visit(child)] as const],
    )
    return Object.fromEntries(how === 'add' && left === 0 ? [...entries, ['more', by]] : entries)
  }
  return visit(root)
}

/** Changes to a valid body: its structure, a byte, its length and its depth. */
export interface Recipe {
  readonly changes: readonly Change[]
  readonly flip: readonly [at: number, byte: number] | null
  readonly cut: number | null
  readonly depth: number
}

export const anyRecipe: fc.Arbitrary<Recipe> = fc.record({
  changes: fc.array(change, { maxLength: 3 }),
  flip: fc.option(fc.tuple(fc.nat({ max: 600 }), fc.integer({ min: 0, max: 255 })), { freq: 3 }),
  cut: fc.option(fc.nat({ max: 500 }), { freq: 4 }),
  depth: fc.constantFrom(0, 0, 0, 0, 20, 40, 20_000),
})

/** The changed body for an id. */
export function bodyBy({ changes, flip, cut, depth }: Recipe, id: string): Buffer {
  const whole = changes.reduce<unknown>(changed, referenceStation(id))
  const text = JSON.stringify(whole) ?? 'null'
  const deep = depth === 0 ? text : text.replace(/\}$/, `,"deep":${'['.repeat(depth)}${']'.repeat(depth)}}`)
  const bytes = Buffer.from(deep)
  if (flip !== null && flip[0] < bytes.length) bytes[flip[0]] = flip[1]
  return cut === null ? bytes : bytes.subarray(0, cut)
}
