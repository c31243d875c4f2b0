import { existsSync, readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import type { Node, SourceFile, Visited } from './support/parsed-source.ts'
import { isReference, linesIn, parseFile } from './support/parsed-source.ts'
import { ALLOWED_IMPORTS, CORE_DEPENDENCY } from './allowed-imports.ts'
import { TESTED_BY } from './tested-by.ts'

/*
 * The structure of src/ as rules. A rule is a function from source files to violations, so that each test applies it
 * to src/ and to planted files that violate it.
 */

const MAX_FILE_LINES = 250
const MAX_FUNCTION_LINES = 50

type Rule = (files: readonly SourceFile[]) => string[]

/** The module of a file: its folder, or the file itself; `app.ts` and `app-*.ts` are one. */
function moduleOf(path: string): string {
  const [, first = '', ...deeper] = path.split('/')
  return deeper.length > 0 ? first : first.replace(/\.ts$/, '').replace(/^app-.+$/, 'app')
}

const imports: Rule = (files) =>
  files.flatMap(({ path, imports }) => {
    const own = moduleOf(path)
    const allowed = ALLOWED_IMPORTS[own]
    if (allowed === undefined) return [`${path}: '${own}' is not a module of allowed-imports.ts`]
    return imports
      .filter(({ target, isRelative, typesOnly }) => {
        const other = moduleOf(target)
        const isInside = target.startsWith('src/') && other === own
        const isAllowed = allowed.values.includes(other) || (typesOnly && allowed.types?.includes(other))
        return isRelative && !isInside && !isAllowed
      })
      .map(({ target, typesOnly }) => `${path}: must not import ${typesOnly ? 'types of ' : ''}${target}`)
  })

const IMPURE = /^(?:Date|performance|setTimeout|setInterval|setImmediate|fetch|console|process)$/

/** The core has no I/O, no clock, no randomness and no framework. */
const pureCore: Rule = (files) =>
  files
    .filter(({ path }) => moduleOf(path) === 'availability')
    .flatMap(({ path, imports, nodes, text }) => {
      const foreign = imports.filter(({ isRelative, target }) => !isRelative && target !== CORE_DEPENDENCY)
      const globals = nodes.filter((it) => isReference(it) && IMPURE.test(String(it.node['name'])))
      const random = nodes.filter(
        ({ node }) => node.type === 'MemberExpression' && text.slice(node.start, node.end) === 'Math.random',
      )
      return [
        ...foreign.map(({ target }) => `${path}: must not import ${target}`),
        ...[...globals, ...random].map(
          ({ node }) => `${path}: must not use ${text.slice(node.start, node.end)}`,
        ),
      ]
    })

/** No file reaches itself through imports, types included. */
const noCycles: Rule = (files) => {
  const targets = new Map(files.map(({ path, imports }) => [path, imports.map(({ target }) => target)]))
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]) => {
    const start = trail.indexOf(path)
    if (start !== -1) cycles.push([...trail.slice(start), path].join(' -> '))
    if (start !== -1 || done.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  return cycles
}

/** The files that are processes of their own. */
const MAIN_FILES = new Set([
  'src/main.ts',
  'src/simulator/main.ts',
  'src/verify/main.ts',
  'src/state-dir/check.ts',
])

const processInMain: Rule = (files) =>
  files
    .filter(({ path }) => !MAIN_FILES.has(path))
    .filter(
      ({ imports, nodes }) =>
        imports.some(({ target }) => /^(?:node:)?process$/.test(target)) ||
        nodes.some(
          ({ node, parent }) =>
            (node['name'] === 'process' && isReference({ node, parent })) ||
            (node['computed'] === true && (node['object'] as Node | undefined)?.['name'] === 'globalThis'),
        ),
    )
    .map(({ path }) => `${path}: must not use process`)

const onePromClient: Rule = (files) => {
  const users = files.filter(({ imports }) =>
    imports.some(({ target }) => target.split('/')[0] === 'prom-client'),
  )
  const paths = users.map(({ path }) => path).join(', ')
  return users.length === 1 ? [] : [`prom-client is imported by ${users.length} files: ${paths}`]
}

const shortFiles: Rule = (files) =>
  files
    .filter(({ text }) => linesIn(text) > MAX_FILE_LINES)
    .map(({ path, text }) => `${path}: has ${linesIn(text)} lines, more than ${MAX_FILE_LINES}`)

/** From the first line of a function to its last, inner functions included. */
const shortFunctions: Rule = (files) =>
  files.flatMap(({ path, text, nodes }) =>
    nodes
      .filter(isFunction)
      .map(({ node }) => ({
        line: linesIn(text.slice(0, node.start + 1)),
        lines: linesIn(text.slice(node.start, node.end)),
      }))
      .filter(({ lines }) => lines > MAX_FUNCTION_LINES)
      .map(
        ({ line, lines }) => `${path}:${line}: a function of ${lines} lines, more than ${MAX_FUNCTION_LINES}`,
      ),
  )

/** Bounds are called MAX_ and MIN_, start values INITIAL_. */
const boundNames: Rule = (files) =>
  files.flatMap(({ path, nodes }) => {
    const names = nodes.map(({ node }) => String(node['name']))
    const wrong = names.filter((name) => /^(?:LONGEST|MOST|SHORTEST|FEWEST|LEAST|LARGEST|FIRST)_/.test(name))
    return [...new Set(wrong)].map((name) => `${path}: ${name} is to be called MAX_, MIN_ or INITIAL_`)
  })

const isFunction = ({ node }: Visited) => /^(?:Arrow)?Function(?:Declaration|Expression)$/.test(node.type)

/** Files with functions that nothing in test/ imports, that have no test of their name, and no test in the table. */
const tested =
  (
    tests: { readonly paths: readonly string[]; readonly text: string },
    testedBy: Readonly<Record<string, string>>,
  ): Rule =>
  (files) => {
    const hasTest = (path: string) =>
      tests.text.includes(path) ||
      tests.paths.includes(path.replace(/^src\/(.*)\.ts$/, '$1.test.ts')) ||
      testedBy[path] !== undefined
    const untested = files.filter(({ path, nodes }) => nodes.some(isFunction) && !hasTest(path))
    return untested.map(({ path }) => `${path}: no test of tested-by.ts`)
  }

const root = new URL('../', import.meta.url)
const src: readonly SourceFile[] = readdirSync(new URL('src/', root), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .toSorted()
  .map((name) => `src/${name.replaceAll('\\', '/')}`)
  .map((path) => parseFile(path, readFileSync(new URL(path, root), 'utf8')))

/** A planted file. */
const file = (path: string, text = '') => parseFile(`src/${path}`, text)

type Planted = readonly [path: string, text: string]

/** Every text in every path. */
const at = (paths: readonly string[], texts: readonly string[]) =>
  paths.flatMap((path) => texts.map((text): Planted => [path, text]))

/** Planted files in which a rule does not find exactly one violation. */
const undetected = (rule: Rule, planted: readonly Planted[]) =>
  planted.filter((one) => rule([file(...one)]).length !== 1)

/** The violations of planted files that are as they should be. */
const falseAlarms = (rule: Rule, planted: readonly Planted[]) =>
  planted.flatMap((one) => rule([file(...one)]))

await t.test('every import of src/ is in the table of allowed imports', async (t) => {
  t.strictSame(imports(src), [])

  const forbidden: readonly Planted[] = [
    ['main.ts', "import { Cache } from './cache/cache.ts'"],
    ['app.ts', "import { simulator } from './simulator/server.ts'"],
    ['config/load.ts', "import { Cache } from '../cache/cache.ts'"],
    ['http/server.ts', "import { Cache } from '../cache/cache.ts'"],
    ['http/server.ts', "import { type Cache, Store } from '../cache/cache.ts'"],
    ['http/server.ts', "import { client } from '../upstream/tomtom/client.ts'"],
    ['http/server.ts', "import type { Config } from '../config/load.ts'"],
    ['cache/cache.ts', "import type { Format } from '../http/error-body.ts'"],
    ['availability/model.ts', "import type { Clock } from '../lib/clock.ts'"],
    ['events.ts', "import { STATUS_OF } from './errors.ts'"],
    ['source.ts', "import { decode } from './availability/decode.ts'"],
    ['lib/clock.ts', "import { ServiceError } from '../errors.ts'"],
    ['simulator/server.ts', "import type { Availability } from '../availability/model.ts'"],
    ['simulator/server.ts', "import { systemClock } from '../lib/clock.ts'"],
    ['cache/a.ts', "export { a } from '../upstream/a.ts'"],
    ['cache/a.ts', "export * from '../upstream/a.ts'"],
    ['cache/a.ts', "export type { A } from '../upstream/a.ts'"],
    ['cache/a.ts', "import '../upstream/a.ts'"],
    ['cache/a.ts', "import * as upstream from '../upstream/a.ts'"],
    ['cache/a.ts', "import a, { type A } from '../upstream/a.ts'"],
    ['cache/a.ts', "const { a } = await import('../upstream/a.ts')"],
    ['cache/a.ts', "const { a } = require('../upstream/a.ts')"],
    ['cache/a.ts', "type A = import('../upstream/a.ts').A"],
    ['cache/a.ts', "import { a } from '../../test/support/clock.ts'"],
    ['plugins/a.ts', ''],
  ]
  t.strictSame(undetected(imports, forbidden), [])

  const allowed: readonly Planted[] = [
    ['http/server.ts', "import type { Cache } from '../cache/cache.ts'"],
    ['http/server.ts', "import { type Cache, type LookupResult } from '../cache/cache.ts'"],
    ['http/server.ts', "// import { a } from '../upstream/a.ts'"],
    ['http/server.ts', "const s = `import { a } from '../upstream/a.ts'`"],
    ['app-cache.ts', "import { createApp } from './app.ts'\nimport { Cache } from './cache/cache.ts'"],
    ['config/load.ts', "import { port } from './types.ts'\nimport { parseSecret } from '../lib/secret.ts'"],
    ['simulator/server.ts', "import { faults } from './faults.ts'\nimport fastify from 'fastify'"],
  ]
  t.strictSame(falseAlarms(imports, allowed), [])
})

await t.test('the availability core is pure', async (t) => {
  t.strictSame(pureCore(src), [])
  const impure = [
    "import { readFileSync } from 'node:fs'",
    "import type { FastifyRequest } from 'fastify'",
    'const now = Date.now()',
    'const now = performance.now()',
    'setTimeout(later, 1)',
    'const n = Math.random()',
    'const s = `at ${new Date()}`',
  ]
  t.strictSame(undetected(pureCore, at(['availability/a.ts'], impure)), [])
  t.strictSame(
    falseAlarms(pureCore, [
      ...at(['cache/a.ts'], impure),
      ['availability/a.ts', "/** a Date */ const s = 'Date' // Date"],
    ]),
    [],
  )
})

await t.test('no import leads back to its own file', async (t) => {
  t.strictSame(noCycles(src), [])
  const a = file('cache/a.ts', "import { b } from './b.ts'")
  const b = file('cache/b.ts', "import type { c } from './c.ts'")
  t.strictSame(noCycles([a, b, file('cache/c.ts', "export { a } from './a.ts'")]), [
    'src/cache/a.ts -> src/cache/b.ts -> src/cache/c.ts -> src/cache/a.ts',
  ])
  t.strictSame(noCycles([file('cache/a.ts', "import { a } from './a.ts'")]), [
    'src/cache/a.ts -> src/cache/a.ts',
  ])
  t.equal(
    noCycles([file('x.ts', "import './cache/a.ts'"), a, file('cache/b.ts', "await import('./a.ts')")]).length,
    1,
  )
  t.strictSame(
    noCycles([a, b, file('cache/c.ts'), file('cache/d.ts', "import './a.ts'\nimport './b.ts'")]),
    [],
  )
})

await t.test('process is used in main.ts alone', async (t) => {
  t.strictSame(processInMain(src), [])
  const uses = [
    'const port = process.env.PORT',
    'const { env } = process',
    'process.exit(1)',
    'const pid = `pid ${process.pid}`',
    'const env = globalThis.process.env',
    "const env = globalThis['process'].env",
    "import { env } from 'node:process'",
    "import process from 'process'",
    'const all = [...process.argv]',
    'const o = { process }',
    'const o = yes ? process : null',
  ]
  t.strictSame(undetected(processInMain, at(['cache/a.ts', 'simulator/server.ts'], uses)), [])
  const allowed = [
    '// process.exit(1)',
    "const s = 'process'",
    'const r = /process/g',
    'const t = `the process`',
    'job.process()',
    'interface A { process: string; }',
    'const o = { process: 1 }',
    'const processed = preprocess(1)',
  ]
  t.strictSame(falseAlarms(processInMain, at(['main.ts', 'simulator/main.ts'], uses)), [])
  t.strictSame(falseAlarms(processInMain, at(['cache/a.ts'], allowed)), [])
})

await t.test('prom-client is imported by one file', async (t) => {
  t.strictSame(onePromClient(src), [])
  const user = file('ops/metrics/metrics.ts', "import { Registry } from 'prom-client'")
  const found = [
    [user, file('ops/a.ts', "import x from 'prom-client-x'")],
    [user, file('ops/b.ts', "import type { Gauge } from 'prom-client'")],
    [user, file('ops/b.ts', "import { x } from 'prom-client/lib/x.js'")],
    [],
  ].map((files) => onePromClient(files).length)
  t.strictSame(found, [0, 1, 1, 1])
})

await t.test('no file has over 250 lines', async (t) => {
  t.strictSame(shortFiles(src), [])
  const texts = ['x\n'.repeat(250), `${'x\n'.repeat(249)}x`, 'x\n'.repeat(251)]
  t.strictSame(
    texts.map((text) => shortFiles([file('a.ts', text)]).length),
    [0, 0, 1],
  )
})

await t.test('no function has over 50 lines', async (t) => {
  t.strictSame(shortFunctions(src), [])
  const body = (lines: number) => `{\n${'x()\n'.repeat(lines - 2)}}`
  const long: readonly Planted[] = [
    ['a.ts', `function f() ${body(51)}`],
    ['a.ts', `const f = async () => ${body(51)}`],
    ['a.ts', `class A { f() ${body(51)} }`],
    ['a.ts', `function f() {\nreturn () => ${body(49)}\n}`],
  ]
  t.strictSame(undetected(shortFunctions, long), [])
  t.strictSame(falseAlarms(shortFunctions, [['a.ts', `function f() ${body(50)}\n`.repeat(2)]]), [])
})

await t.test('bounds are named MAX_, MIN_ or INITIAL_', async (t) => {
  t.strictSame(boundNames(src), [])
  const wrong = ['const LONGEST_MS = 1', 'const MOST_WINDOWS = 1', 'const FIRST_REST_MS = 1']
  t.strictSame(undetected(boundNames, at(['a.ts'], wrong)), [])
  t.strictSame(falseAlarms(boundNames, [['a.ts', 'const MAX_MS = 1, first_ = 2, ALMOST_ALL = 3']]), [])
})

await t.test('the rules see every module and its imports', async (t) => {
  const modules = [...new Set(src.map(({ path }) => moduleOf(path)))]
  t.strictSame(modules.toSorted(), Object.keys(ALLOWED_IMPORTS).toSorted())
  const app = src.find(({ path }) => path === 'src/app.ts')
  t.ok((app?.imports.length ?? 0) > 10, 'app.ts imports most modules')
})

await t.test('every file with functions is imported by a test or has one in tested-by.ts', async (t) => {
  const paths = readdirSync(new URL('test/', root), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && path !== 'tested-by.ts')
    .map((path) => path.replaceAll('\\', '/'))
  const text = paths.map((path) => readFileSync(new URL(`test/${path}`, root), 'utf8')).join('\n')
  t.strictSame(tested({ paths, text }, TESTED_BY)(src), [])
  const needed = tested({ paths, text }, {})(src).join('\n')
  const unneeded = Object.keys(TESTED_BY).filter((path) => !needed.includes(`${path}: `))
  t.strictSame(unneeded, [], 'the table has no file that a test imports or that has a test of its name')
  const gone = Object.entries(TESTED_BY).filter((pair) =>
    pair.some((path) => !existsSync(new URL(path, root))),
  )
  t.strictSame(gone, [])

  const [logic, types] = [file('a.ts', 'export const a = () => 1'), file('b.ts', 'export interface B {}')]
  const none = { paths: [], text: '' }
  t.strictSame(tested(none, {})([logic, types]), ['src/a.ts: no test of tested-by.ts'])
  t.strictSame(tested({ ...none, text: "from '../src/a.ts'" }, {})([logic]), [])
  t.strictSame(tested({ ...none, paths: ['a.test.ts'] }, {})([logic]), [])
  t.strictSame(tested(none, { 'src/a.ts': 'test/a.test.ts' })([logic]), [])
})
