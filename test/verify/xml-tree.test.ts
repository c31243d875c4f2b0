import * as fc from 'fast-check'
import t from 'tap'
import { renderXml } from '../../src/availability/xml.ts'
import { parseXml } from '../../src/verify/xml-tree.ts'
import { anyStation } from '../support/arbitraries.ts'
import { referenceStation } from '../support/stations.ts'

const leaf = (name: string, text = '') => ({ name, children: [], text })

await t.test('an XML document is parsed into its elements', async (t) => {
  t.strictSame(parseXml('<?xml version="1.0"?>\n<a>\n <b>1</b>\n <!-- x --><b/> <c></c>\n</a>\n'), {
    name: 'a',
    children: [leaf('b', '1'), leaf('b'), leaf('c')],
    text: '',
  })
  t.strictSame(
    parseXml('<a>&lt;&amp;&#65;&#x42;&unknown;<![CDATA[<c>&amp;]]></a>'),
    leaf('a', '<&AB&unknown;<c>&amp;'),
  )
  t.strictSame(parseXml('<a x="1"/>'), leaf('a x="1"'))
  t.strictSame(parseXml('<a> text <b/></a>'), { name: 'a', children: [leaf('b')], text: 'text' })
})

await t.test('white space between elements does not count', async (t) => {
  const compact = renderXml(referenceStation())
  t.strictSame(parseXml(compact.replaceAll('><', '>\n  <')), parseXml(compact))
})

await t.test('what is not well-formed is no document', async (t) => {
  const documents = [
    '',
    'text',
    '<a>',
    '</a>',
    '<a></b>',
    '<a><b></a></b>',
    '<a/><b/>',
    'x<a/>',
    '<a',
    '<a><!-- </a>',
    '<a><![CDATA[</a>',
    '<>',
    '< a/>',
    '<a>'.repeat(100) + '</a>'.repeat(100),
  ]
  t.strictSame(
    documents.map((document) => [document, parseXml(document)]),
    documents.map((document) => [document, null]),
  )
})

await t.test('a megabyte of unfinished markup takes less than a second', async (t) => {
  const start = performance.now()
  const results = ['<', '<!--', '<![CDATA[', '<?', '<a>', '&#', '<a x='].map((part) =>
    parseXml(`<r>${part.repeat(2 ** 20 / part.length)}`),
  )
  t.strictSame([...new Set(results)], [null])
  t.ok(performance.now() - start < 1_000)
})

await t.test("every document of the proxy's is parsed", async () => {
  fc.assert(
    fc.property(anyStation, (station) => parseXml(renderXml(station))?.name === 'response'),
    { numRuns: 300 },
  )
})
