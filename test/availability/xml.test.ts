import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import t from 'tap'
import { decodeAvailability } from '../../src/availability/decode.ts'
import { filterAvailability } from '../../src/availability/filter.ts'
import type { Availability } from '../../src/availability/model.ts'
import { formatDouble } from '../../src/availability/number.ts'
import { renderXml, textElement } from '../../src/availability/xml.ts'
import { anyFilter, anyStation, deepFreeze, hostileText } from '../support/arbitraries.ts'
import { connector, level, station } from '../support/stations.ts'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')
const ID = '75502858-a491-36fe-7128-23d400153b86'

type Node = [name: string, content: string | Node[]]

const parser = new XMLParser({
  preserveOrder: true,
  trimValues: false,
  parseTagValue: false,
  htmlEntities: true,
  processEntities: { enabled: true, maxTotalExpansions: 1_000_000, maxExpandedLength: 10_000_000 },
})

/** The elements of a document in order: names with text or with elements. */
function read(xml: string): Node[] {
  const parsed = parser.parse(xml) as Record<string, unknown>[]
  return nodes(parsed.filter((node) => !Object.hasOwn(node, '?xml')))
}

function nodes(parsed: Record<string, unknown>[]): Node[] {
  return parsed.map((node) => {
    const [name = '', children] = Object.entries(node)[0] ?? []
    const inner = children as Record<string, unknown>[]
    const texts = inner.filter((child) => Object.hasOwn(child, '#text'))
    return [
      name,
      texts.length > 0 || inner.length === 0
        ? texts.map((child) => String(child['#text'])).join('')
        : nodes(inner),
    ]
  })
}

/** The expected elements of an answer, independent of the renderer. */
function modelled(one: Availability): Node[] {
  const { chargingAvailability, ...rest } = one
  return [
    [
      'response',
      [['chargingAvailability', allowed(chargingAvailability)], ...Object.entries(rest).flatMap(member)],
    ],
  ]
}

function member([key, value]: [string, unknown]): Node[] {
  const name = key.replaceAll('ï', '_').replace(/^1/, '_1')
  if (Array.isArray(value)) {
    if (key === 'perPowerLevel') {
      const rows = value.filter((row) => typeof row === 'object' && row !== null && !Array.isArray(row))
      return rows.map((row): Node => ['perPowerLevel', member(['power', row])])
    }
    return [[name, content(value.flatMap((item) => member(['item', item])))]]
  }
  if (typeof value === 'object' && value !== null)
    return [[name, content(Object.entries(value).flatMap(member))]]
  if (typeof value === 'number' && key === 'powerKW') return [[name, formatDouble(value)]]
  return [[name, value === null ? '' : allowed(typeof value === 'string' ? value : JSON.stringify(value))]]
}

/** An element without children is the same as one without text. */
const content = (children: Node[]) => (children.length === 0 ? '' : children)

/** The text with U+FFFD for characters that XML 1.0 does not allow. */
function allowed(text: string): string {
  return Array.from(text, (character) =>
    /^[\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]$/u.test(character) ? character : '\ufffd',
  ).join('')
}

/** The reason why a text is not an XML 1.0 document; null if it is one. */
function illFormed(xml: string): string | null {
  if (!xml.isWellFormed()) return 'a lone surrogate'
  if (allowed(xml) !== xml) return 'a character that XML does not allow'
  if (xml.includes('\r')) return 'a raw carriage return'
  if (xml.includes(']]>')) return ']]> in text'
  if (/&(?!(?:amp|lt|gt|quot|apos|#13);)/.test(xml)) return 'a raw ampersand'
  const verdict = XMLValidator.validate(xml)
  return verdict === true ? null : verdict.err.msg
}

/** The text of an undocumented member, as a client decodes it. */
function readText(text: string): unknown {
  const [response] = read(renderXml({ ...station('1'), note: text }))
  return Object.fromEntries(response?.[1] as Node[])['note']
}

await t.test('renderXml writes the XML body', async (t) => {
  await t.test("the XML body is the reference's sample without white space", async (t) => {
    const sample = fixture('reference.xml').replaceAll(/\n\s*/g, '')
    t.equal(renderXml(decodeAvailability(fixture('reference.json'), ID)), sample)
  })

  await t.test('a station without connectors has an empty connectors element', async (t) => {
    t.equal(
      renderXml(station('1')),
      '<?xml version="1.0" encoding="UTF-8"?><response><chargingAvailability>1</chargingAvailability><connectors></connectors></response>',
    )
  })

  await t.test('chargingAvailability is the first element, and the others keep their order', async (t) => {
    const one = { b: 1, connectors: [], a: 2, chargingAvailability: 'x', c: 3 }
    t.match(
      renderXml(one),
      '<response><chargingAvailability>x</chargingAvailability><b>1</b><connectors></connectors><a>2</a><c>3</c></response>',
    )
  })

  await t.test('powers have a fraction and counts have none', async (t) => {
    const xml = renderXml(station('1', connector('A', level(50, 3))))
    t.match(xml, '<power><powerKW>50.0</powerKW><available>3</available>')
  })

  await t.test('an empty perPowerLevel has no element', async (t) => {
    const one = station('1', { type: 'A', availability: { perPowerLevel: [] } })
    t.match(renderXml(one), '<item><type>A</type><availability></availability></item>')
  })

  await t.test('undocumented members follow the same rules', async (t) => {
    const one = {
      ...station('1'),
      object: { a: { b: true } },
      list: [1, [2], { c: null }],
      nothing: null,
      none: {},
      power: [1],
    }
    t.match(
      renderXml(one),
      '<object><a><b>true</b></a></object>' +
        '<list><item>1</item><item><item>2</item></item><item><c></c></item></list>' +
        '<nothing></nothing><none></none><power><item>1</item></power>',
    )
  })

  await t.test('rows that are no objects are omitted, and odd perPowerLevels are well-formed', async (t) => {
    const stations = [[null, 7, 'x', [1], {}], null, 'none', 3, { powerKW: 22 }].map((perPowerLevel) =>
      station('1', { type: 'A', availability: { perPowerLevel } }),
    )
    t.strictSame(
      stations.map((one) => [illFormed(renderXml(one)), read(renderXml(one))]),
      stations.map((one) => [null, modelled(one)]),
    )
  })

  await t.test('an invalid element name is replaced, so no name can inject elements', async (t) => {
    const names = [
      ['a b', 'a_b'],
      ['1', '_1'],
      ['-a', '_-a'],
      ['.a', '_.a'],
      ['', '_'],
      ['a:b', 'a_b'],
      ['é', '_'],
      ['😀', '__'],
      ['a>b<c', 'a_b_c'],
      ['x/><evil a="', 'x___evil_a__'],
      ['\0', '_'],
      ['a\nb', 'a_b'],
      ['toString', 'toString'],
      ['ok_1.2-3', 'ok_1.2-3'],
    ] as const
    const bodies = names.map(([name]) => renderXml({ ...station('1'), [name]: 'v' }))
    t.match(
      bodies,
      names.map(([, element]) => `<${element}>v</${element}>`),
    )
    t.strictSame(
      bodies.map(illFormed),
      names.map(() => null),
    )
  })

  await t.test('text is escaped', async (t) => {
    t.equal(textElement('a', `&<>"'`), '<a>&amp;&lt;&gt;&quot;&apos;</a>')
    t.equal(textElement('a', ']]>'), '<a>]]&gt;</a>')
    t.equal(textElement('a', '&amp;'), '<a>&amp;amp;</a>')
    t.equal(textElement('a', '\r\n\t'), '<a>&#13;\n\t</a>')
    t.equal(textElement('a', '</a><b>'), '<a>&lt;/a&gt;&lt;b&gt;</a>')
  })

  await t.test('characters that XML does not allow become U+FFFD, and no others do', async (t) => {
    const forbidden = [
      '\0',
      '\u0001',
      '\u0008',
      '\u000b',
      '\u000c',
      '\u000e',
      '\u001f',
      '\ufffe',
      '\uffff',
      '\ud800',
      '\udfff',
      '\udc00\ud800',
    ]
    t.strictSame(
      forbidden.filter((text) => !/^<a>\ufffd+<\/a>$/.test(textElement('a', text))),
      [],
    )
    const texts = [
      '\t',
      '\n',
      ' ',
      '\u007f',
      '\u0085',
      '\u2028',
      '\ud7ff',
      '\ue000',
      '\ufffd',
      '😀',
      '\u{1fffe}',
      '\u{10ffff}',
    ]
    t.strictSame(
      texts.map((text) => textElement('a', text)),
      texts.map((text) => `<a>${text}</a>`),
    )
  })

  await t.test('hostile text is well-formed and is decoded unchanged', async (t) => {
    const texts = [
      `&<>"'`,
      ']]>',
      '<![CDATA[x]]>',
      '<!--',
      '<?x?>',
      '&#0;',
      '&lol;',
      'a\rb\r\nc',
      ' a ',
      '\ud800',
      '\0',
    ]
    const seen = texts.map((text) => {
      const one = station(text, { type: text, availability: { current: text }, total: text })
      return [illFormed(renderXml(one)), readText(text)]
    })
    t.strictSame(
      seen,
      texts.map((text) => [null, allowed(text)]),
    )
  })

  await t.test('any text is well-formed and is decoded unchanged', async () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const one = { ...station(text), [text]: text, [`x${text}`]: [text] }
        return illFormed(renderXml(one)) === null && readText(text) === allowed(text)
      }),
      { numRuns: 1_000 },
    )
  })

  await t.test('any answer, filtered or not, is decoded as the same elements', async () => {
    fc.assert(
      fc.property(anyStation, anyFilter, (one, filter) => {
        const left = filterAvailability(deepFreeze(one), filter)
        const xml = renderXml(left)
        return illFormed(xml) === null && JSON.stringify(read(xml)) === JSON.stringify(modelled(left))
      }),
      { numRuns: 1_000 },
    )
  })
})
