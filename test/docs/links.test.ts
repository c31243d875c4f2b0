import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'examples/README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const withoutCode = (text: string) => text.replaceAll(/^```[^]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')

/** The anchors that GitHub gives to the headings of a document; a repeated one gets a number. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>()
  const headings = [...text.replaceAll(/^```[^]*?^```/gm, '').matchAll(/^#{1,6} (.+)$/gm)]
  return new Set(
    headings.map(([, heading = '']) => {
      const slug = heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-')
      const times = seen.get(slug) ?? 0
      seen.set(slug, times + 1)
      return times === 0 ? slug : `${slug}-${times}`
    }),
  )
}

/** Relative links of a document that lead nowhere. */
function brokenLinks(document: string): string[] {
  const links = [
    ...withoutCode(read(document)).matchAll(/\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)/g),
  ]
  return links.flatMap(([, target = '', anchor]) => {
    const path = target === '' ? document : relative(ROOT, resolve(ROOT, dirname(document), target))
    if (!existsSync(join(ROOT, path))) return [`${document}: ${target}`]
    const isBroken = anchor !== undefined && !anchorsOf(read(path)).has(anchor)
    return isBroken ? [`${document}: ${target}#${anchor}`] : []
  })
}

await t.test('every relative link and anchor in the documents resolves', (t) => {
  t.strictSame(DOCUMENTS.flatMap(brokenLinks), [])
  t.end()
})

await t.test('every source, test and deployment file that a document names exists', (t) => {
  const PATH = /(?<![\w/.])(?:src|test|bench|scripts|deploy|docs|examples)\/[\w./-]*\w/g
  const missing = DOCUMENTS.flatMap((document) => {
    const paths = new Set(read(document).match(PATH))
    return [...paths].filter((path) => !existsSync(join(ROOT, path))).map((path) => `${document}: ${path}`)
  })
  t.strictSame(missing, [])
  t.end()
})

await t.test('README.md links to every page of docs/', (t) => {
  const text = read('README.md') + read('CONTRIBUTING.md')
  const unlinked = DOCUMENTS.filter((path) => path.startsWith('docs/') && !text.includes(`](${path}`))
  t.strictSame(unlinked, [])
  t.end()
})
