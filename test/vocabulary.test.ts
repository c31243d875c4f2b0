import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import t from 'tap'

/*
 * The glossary of docs/architecture.md has one word for one thing. Words that were replaced must not come back in
 * source files, documents and deployment files. Matching ignores case, sees the words inside camelCase and UPPER_CASE
 * names, and sees phrases across line ends.
 */

const ABOLISHED: readonly (readonly [words: string, instead: string])[] = [
  ['sleeves?', 'policy'],
  ['pure heart', 'pure core'],
  ['the house|rooms', 'codebase, modules'],
  ['setbacks?', 'negative entry, back-off'],
  ['purse', 'quota'],
  ['told|tells?', 'report, log, contain, format, emit'],
  ['hears?', 'receive'],
  ['whoever', 'a noun of the glossary'],
  ['old answers?|overdue', 'stale answer'],
  ['shared tier', 'shared cache, Redis'],
  ['mirrored', 'proxied'],
  ['look-ups?', 'lookup'],
  ['under way', 'in flight'],
  ['refus(?:e|es|ed|ing|als?)', 'rejected, limited, error response, client error, invalid'],
  ['given up:', 'Trade-off:'],
  ['anew', 'again'],
  ['for want of', 'without, because'],
  ['of ours|of our own', 'the product, this process'],
  ['out to see', 'as a probe'],
  ['as a rule', 'usually, or nothing'],
  ['worked out|reckoned', 'computed'],
  ['in life', 'in production'],
  ['wait no longer|spent alone|dont note', 'cancel, unreported'],
]

/** Names of the contract: they are removed from the text before it is searched. */
const CONTRACT: readonly { readonly files: RegExp; readonly names: RegExp }[] = [
  // The error code, the alert with its anchor in the runbooks, and Node's error code.
  { files: /./, names: /(?:EvProxy)?UpstreamRefused|ECONNREFUSED/gi },
  // A value of the label `outcome`.
  { files: /./, names: /(['"`])refused\1|\boutcome[!=~]+"[^"\n]*"/g },
  { files: /^src\/(?:upstream|ops)\/|^src\/events\.ts/, names: /^\s*refused: /gm },
  // Members of the JSON of /status; comments are searched all the same.
  {
    files: /^src\/ops\/status\//,
    names:
      /(?<!^ *(?:\/\*|\*|\/\/).*)(?:'calls\.refused'|[.#-]refus(?:ed|al)\b|"refused|\brefus(?:ed|al)(?=\s?[:,})?!])|\bsharedTierUp\b)/gm,
  },
  // The same members in the description of that JSON.
  { files: /^docs\/runbooks\.md/, names: /`(?:refusal|refused|sharedTierUp)`/g },
]

/** Everything that a user or a contributor reads, generated files and the history (CHANGELOG.md) left out. */
const SEARCHED = [
  'src',
  'docs',
  'deploy',
  'examples',
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'openapi.yaml',
  '.env.example',
]

/** `path:line: 'word', use: …`, in the order of the lines. */
function abolishedWords(path: string, text: string): string[] {
  let searched = text
  for (const { files, names } of CONTRACT) if (files.test(path)) searched = searched.replace(names, ' ')
  const split = searched.replace(/([a-z\d])([A-Z])/g, '$1 $2').replaceAll('_', ' ')
  return ABOLISHED.flatMap(([words, instead]) => {
    const gap = String.raw`(?:[ \t]+|[ \t]*\n[ \t]*(?:\*|\/\/|#|--)?[ \t]*)`
    const pattern = new RegExp(`(?<![\\p{L}\\d])(?:${words.replaceAll(' ', gap)})(?![\\p{L}\\d])`, 'giu')
    return [...split.matchAll(pattern)].map(({ 0: word, index }) => ({
      line: split.slice(0, index).split('\n').length,
      problem: `'${word.replaceAll(/\s+/g, ' ')}', use: ${instead}`,
    }))
  })
    .toSorted((a, b) => a.line - b.line)
    .map(({ line, problem }) => `${path}:${line}: ${problem}`)
}

const root = new URL('../', import.meta.url)

function filesIn(name: string): string[] {
  const path = new URL(name, root)
  if (!existsSync(path)) return []
  if (statSync(path).isFile()) return [name]
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map((inside) => `${name}/${inside.replaceAll('\\', '/')}`)
    .filter((inside) => statSync(new URL(inside, root)).isFile())
    .toSorted()
}

await t.test('the abolished words are in no source file, document or deployment file', async (t) => {
  const files = SEARCHED.flatMap(filesIn)
  t.ok(files.length > 100, 'the files are found')
  const found = files.flatMap((path) => abolishedWords(path, readFileSync(new URL(path, root), 'utf8')))
  t.strictSame(found, [])
})

await t.test('an abolished word is found in prose, in names and across lines', async (t) => {
  const text = [
    '/** An old',
    ' * answer is told to whoever asks. */',
    'const sharedTier = REFUSALS_KEPT',
    '// Given up: look-ups under',
    '// way',
    'if (outcome === "refused") throw refused',
    'spentAlone',
  ].join('\n')
  t.strictSame(
    abolishedWords('src/cache/a.ts', text).map((problem) => problem.split(',', 1)[0]),
    [
      "src/cache/a.ts:1: 'old * answer'",
      "src/cache/a.ts:2: 'told'",
      "src/cache/a.ts:2: 'whoever'",
      "src/cache/a.ts:3: 'shared Tier'",
      "src/cache/a.ts:3: 'REFUSALS'",
      "src/cache/a.ts:4: 'look-ups'",
      "src/cache/a.ts:4: 'under // way'",
      "src/cache/a.ts:4: 'Given up:'",
      "src/cache/a.ts:6: 'refused'",
      "src/cache/a.ts:7: 'spent Alone'",
    ],
  )
})

await t.test('names of the contract and ordinary words are no violation', async (t) => {
  const allowed = [
    ['src/errors.ts', 'UpstreamRefused: 502, // ECONNREFUSED'],
    ['docs/runbooks.md', '[EvProxyUpstreamRefused](#evproxyupstreamrefused): `refused`'],
    ['deploy/rules.yml', 'calls{outcome=~"throttled|refused"}'],
    ['src/upstream/outcomes.ts', "  refused: { code: 'UpstreamRefused' },"],
    ['src/ops/status/status.ts', '  refused: failures.refused.count, refusal: sharedTierUp }'],
    ['src/ops/status/page/main.js', "if (refusal !== null) byId('refused')"],
    ['README.md', 'there is room for more; a lookup; untold; lifecycle; telling; hearing'],
  ] as const
  t.strictSame(
    allowed.flatMap(([path, text]) => abolishedWords(path, text)),
    [],
  )
  t.strictSame(abolishedWords('src/ops/status/a.ts', ' * What is refused, and why').length, 1)
})
