import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import t from 'tap'

/**
 * The arrows of the house, as rules: each is a function from sources to violations, so that the same test
 * that holds src/ to it also plants a violation and sees it told.
 */
interface Source {
  /** From the root, such as `src/http/server.ts`. */
  readonly path: string
  readonly text: string
}
type Rule = (sources: readonly Source[]) => string[]

interface Import {
  /** A path from the root for what is ours, else a package's or a builtin's name. */
  readonly target: string
  readonly isOurs: boolean
  readonly typesOnly: boolean
}

/** What a room may import of ours beside itself. A room that is missing here does not exist. */
const ROOMS: Record<string, { readonly values: readonly string[]; readonly types?: readonly string[] }> = {
  main: { values: ['config', 'app'] },
  app: {
    values: [
      'config',
      'access',
      'http',
      'availability',
      'cache',
      'upstream',
      'ops',
      'redis',
      'secret',
      'clock',
      'errors',
      'observer',
    ],
  },
  config: {
    values: ['secret', 'access'],
    types: ['http', 'availability', 'cache', 'upstream', 'ops', 'redis', 'clock', 'errors', 'observer'],
  },
  http: {
    values: ['availability', 'clock', 'errors', 'observer', 'schemaless', 'web-page'],
    types: ['cache'],
  },
  cache: { values: ['availability', 'clock', 'errors', 'observer', 'own-text'] },
  access: { values: ['watched-file', 'clock', 'observer'] },
  upstream: { values: ['availability', 'secret', 'watched-file', 'clock', 'errors', 'observer'] },
  redis: { values: ['clock', 'errors', 'observer'], types: ['cache', 'upstream'] },
  ops: { values: ['clock', 'errors', 'observer', 'own-text', 'schemaless', 'web-page'] },
  availability: { values: ['errors'] },
  simulator: { values: [] },
  clock: { values: [] },
  secret: { values: [] },
  'watched-file': { values: ['clock'] },
  errors: { values: [] },
  observer: { values: [] },
  'own-text': { values: [] },
  schemaless: { values: [] },
  'web-page': { values: [] },
}

/** The only package that the pure heart needs: it reads hostile JSON. */
const HEART_IMPORT = 'secure-json-parse'
const MAX_LINES = 250

/** The room of a file: its folder, or itself; `app.ts` and `app-*.ts` are one, and so are those of `config`. */
function roomOf(path: string): string {
  const [, first = '', ...deeper] = path.split('/')
  if (deeper.length > 0) return first
  return first.replace(/\.ts$/, '').replace(/^(app|config)-.+$/, '$1')
}

const COMMENT = /\/\*[\s\S]*?\*\/|\/\/.*/
const QUOTED = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/
/** A regular expression can only stand where a value begins; elsewhere the slash divides. */
const REGEXP = /(?<=[(,=:[!&|?{};>]\s*|return\s+)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/
/** A template's text, up to what it interpolates or its end. */
const TEMPLATE = /`(?:\\.|[^`\\$]|\$(?!\{))*(?:\$\{|`)|\}(?:\\.|[^`\\$\n]|\$(?!\{))*`/

const pattern = (...parts: RegExp[]) => new RegExp(parts.map((part) => `(?:${part.source})`).join('|'), 'g')
const isComment = (text: string) => /^\/[*/]/.test(text)

/** The source without comments. */
function withoutComments(text: string): string {
  return text.replace(pattern(REGEXP, COMMENT, QUOTED), (found) => (isComment(found) ? ' ' : found))
}

/** The source without comments and without the insides of strings, templates and regular expressions. */
function codeOf(text: string): string {
  return text.replace(pattern(REGEXP, COMMENT, QUOTED, TEMPLATE), (found) => (isComment(found) ? ' ' : '``'))
}

const STATIC = /^\s*(?:import|export)\s+(type\s+)?([^'"`;=()]*?)\s*\bfrom\s*['"]([^'"]+)['"]/gm
const BARE = /^\s*import\s*['"]([^'"]+)['"]/gm
const DYNAMIC = /\b(?:import|require)\s*\(\s*['"`]([^'"`]+)['"`]/g

function importsOf({ path, text }: Source): Import[] {
  const code = withoutComments(text)
  const found = [...code.matchAll(STATIC)].map(([, type, names = '', from = '']) =>
    importOf(path, from, type !== undefined || areTypes(names)),
  )
  for (const expression of [BARE, DYNAMIC]) {
    for (const [, from = ''] of code.matchAll(expression)) found.push(importOf(path, from, false))
  }
  return found
}

/** `{ type A, type B }` imports types alone. */
function areTypes(names: string): boolean {
  const [, inside] = /^\{([\s\S]*)\}$/.exec(names.trim()) ?? []
  const items = (inside ?? '').split(',').map((name) => name.trim())
  const named = items.filter((name) => name !== '')
  return named.length > 0 && named.every((name) => name.startsWith('type '))
}

function importOf(path: string, from: string, typesOnly: boolean): Import {
  const isOurs = from.startsWith('.')
  return { isOurs, typesOnly, target: isOurs ? posix.join(posix.dirname(path), from) : from }
}

/** Every import goes along an arrow of the table. */
const arrows: Rule = (sources) =>
  sources.flatMap((source) => {
    const room = roomOf(source.path)
    const may = ROOMS[room]
    if (may === undefined) return [`${source.path}: there is no room '${room}'`]
    return importsOf(source)
      .filter(({ isOurs }) => isOurs)
      .filter(({ target, typesOnly }) => {
        const other = roomOf(target)
        const isInside = target.startsWith('src/') && other === room
        return !isInside && !may.values.includes(other) && !(typesOnly && may.types?.includes(other))
      })
      .map(
        ({ target, typesOnly }) => `${source.path}: must not import ${typesOnly ? 'types of ' : ''}${target}`,
      )
  })

/** The heart is pure: no I/O, no clock, no framework. */
const pureHeart: Rule = (sources) =>
  sources
    .filter(({ path }) => roomOf(path) === 'availability')
    .flatMap((source) => {
      const foreign = importsOf(source).filter(({ isOurs, target }) => !isOurs && target !== HEART_IMPORT)
      const impure = [
        ...codeOf(source.text).matchAll(
          /\b(?:Date|performance|setTimeout|setInterval|fetch|console|Math\.random)\b/g,
        ),
      ]
      return [
        ...foreign.map(({ target }) => `${source.path}: must not import ${target}`),
        ...impure.map(([name]) => `${source.path}: must not say ${name}`),
      ]
    })

/** No file reaches itself through imports, types included. */
const noCycles: Rule = (sources) => {
  const targets = new Map(
    sources.map((source) => [
      source.path,
      importsOf(source)
        .filter(({ isOurs }) => isOurs)
        .map(({ target }) => target),
    ]),
  )
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]) => {
    const start = trail.indexOf(path)
    if (start !== -1) cycles.push([...trail.slice(start), path].join(' -> '))
    if (start !== -1 || done.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const { path } of sources) visit(path, [])
  return cycles
}

/** Only the process's own file says `process`; in the simulator, its own main. */
const processInMain: Rule = (sources) =>
  sources
    .filter(({ path }) => path !== 'src/main.ts' && path !== 'src/simulator/main.ts')
    .filter(
      (source) =>
        /(?<![\w$]|(?<!\.\.)\.\s*)process\b(?!\??:)|\bglobalThis\s*(?:\??\.\s*process\b|\[)/.test(
          codeOf(source.text),
        ) || importsOf(source).some(({ target }) => /^(?:node:)?process$/.test(target)),
    )
    .map(({ path }) => `${path}: must not say process`)

/** One file translates to Prometheus. */
const onePromClient: Rule = (sources) => {
  const users = sources.filter((source) =>
    importsOf(source).some(({ target }) => target.split('/')[0] === 'prom-client'),
  )
  return users.length === 1
    ? []
    : [`prom-client is imported by ${users.length} files: ${users.map(({ path }) => path).join(', ')}`]
}

const shortFiles: Rule = (sources) =>
  sources
    .map(({ path, text }) => ({ path, lines: text.replace(/\n$/, '').split('\n').length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ path, lines }) => `${path}: has ${lines} lines, more than ${MAX_LINES}`)

const root = new URL('../', import.meta.url)
const src: readonly Source[] = readdirSync(new URL('src/', root), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .toSorted()
  .map((name) => `src/${name.replaceAll('\\', '/')}`)
  .map((path) => ({ path, text: readFileSync(new URL(path, root), 'utf8') }))

/** A planted source. */
const file = (path: string, text = ''): Source => ({ path: `src/${path}`, text })

await t.test('every import goes along an arrow', async (t) => {
  t.strictSame(arrows(src), [])

  for (const [path, text] of [
    ['main.ts', "import { Cache } from './cache/cache.ts'"],
    ['main.ts', "import type { Clock } from './clock.ts'"],
    ['app.ts', "import { main } from './main.ts'"],
    ['app.ts', "import { simulator } from './simulator/server.ts'"],
    ['config.ts', "import { Cache } from './cache/cache.ts'"],
    ['config.ts', "import type { App } from './app.ts'"],
    ['config-values.ts', "import { asServiceError } from './errors.ts'"],
    ['http/server.ts', "import { Cache } from '../cache/cache.ts'"],
    ['http/server.ts', "import { type Cache, Store } from '../cache/cache.ts'"],
    ['http/server.ts', "import { tomtom } from '../upstream/tomtom.ts'"],
    ['http/server.ts', "import type { Config } from '../config.ts'"],
    ['http/server.ts', "import type { Kind } from '../config-values.ts'"],
    ['http/deep/er.ts', "import { pino } from '../../ops/logger.ts'"],
    ['cache/cache.ts', "import { tomtom } from '../upstream/tomtom.ts'"],
    ['cache/cache.ts', "import type { Format } from '../http/problem.ts'"],
    ['upstream/tomtom.ts', "import { Cache } from '../cache/cache.ts'"],
    ['ops/metrics.ts', "import type { Cache } from '../cache/cache.ts'"],
    ['ops/metrics.ts', "import { parseSecret } from '../secret.ts'"],
    ['availability/model.ts', "import type { Clock } from '../clock.ts'"],
    ['availability/model.ts', "import type { Observer } from '../observer.ts'"],
    ['errors.ts', "import type { Format } from './http/problem.ts'"],
    ['observer.ts', "import { STATUS_OF } from './errors.ts'"],
    ['access/clients.ts', "import { ServiceError } from '../errors.ts'"],
    ['http/admission.ts', "import { openClients } from '../access/clients.ts'"],
    ['watched-file.ts', "import { parseSecret } from './secret.ts'"],
    ['clock.ts', "import { parseSecret } from './secret.ts'"],
    ['secret.ts', "import type { Config } from './config.ts'"],
    ['simulator/server.ts', "import type { Availability } from '../availability/model.ts'"],
    ['simulator/server.ts', "import { systemClock } from '../clock.ts'"],
    ['cache/a.ts', "export { tomtom } from '../upstream/tomtom.ts'"],
    ['cache/a.ts', "export * from '../upstream/tomtom.ts'"],
    ['cache/a.ts', "export type { X } from '../upstream/tomtom.ts'"],
    ['cache/a.ts', "import '../upstream/tomtom.ts'"],
    ['cache/a.ts', "import * as upstream from '../upstream/tomtom.ts'"],
    ['cache/a.ts', "import tomtom, { type A } from '../upstream/tomtom.ts'"],
    ['cache/a.ts', "import {\n  a,\n  b,\n} from '../upstream/tomtom.ts'"],
    ['cache/a.ts', "const { a } = await import('../upstream/tomtom.ts')"],
    ['cache/a.ts', "type A = import('../upstream/tomtom.ts').A"],
    ['cache/a.ts', "import { a } from '../../test/support/clock.ts'"],
    ['cache/a.ts', "const x = /'/\nimport { a } from '../upstream/tomtom.ts'"],
  ] as const) {
    t.equal(arrows([file(path, text)]).length, 1, `told: ${path}: ${text}`)
  }
  t.equal(arrows([file('plugins/a.ts')]).length, 1, 'told: a room that is not in the table')
  t.equal(arrows([file('helpers.ts')]).length, 1, 'told: a file that is no room')

  for (const [path, text] of [
    ['http/server.ts', "import type { Cache } from '../cache/cache.ts'"],
    ['http/server.ts', "import { type Cache, type Found } from '../cache/cache.ts'"],
    ['http/server.ts', "// import { tomtom } from '../upstream/tomtom.ts'"],
    ['http/server.ts', "/*\nimport { tomtom } from '../upstream/tomtom.ts'\n*/"],
    ['config.ts', "import { port } from './config-values.ts'\nimport { parseSecret } from './secret.ts'"],
    ['upstream/api-key.ts', "import { parseSecret } from '../secret.ts'\nimport { x } from './x.ts'"],
    ['simulator/server.ts', "import { faults } from './faults.ts'\nimport fastify from 'fastify'"],
  ] as const) {
    t.strictSame(arrows([file(path, text)]), [], `fine: ${path}: ${text}`)
  }
})

await t.test('the heart is pure', async (t) => {
  t.strictSame(pureHeart(src), [])
  for (const text of [
    "import { readFileSync } from 'node:fs'",
    "import type { FastifyRequest } from 'fastify'",
    'const now = Date.now()',
    'const now = performance.now()',
    'setTimeout(later, 1)',
    'const n = Math.random()',
    'const s = `at ${new Date()}`',
  ]) {
    t.equal(pureHeart([file('availability/a.ts', text)]).length, 1, `told: ${text}`)
    t.strictSame(pureHeart([file('cache/a.ts', text)]), [], `fine elsewhere: ${text}`)
  }
  t.strictSame(pureHeart([file('availability/a.ts', "/** a Date */ const s = 'Date' // Date")]), [])
})

await t.test('no import goes round', async (t) => {
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

await t.test('only main says process', async (t) => {
  t.strictSame(processInMain(src), [])
  for (const text of [
    'const port = process.env.PORT',
    'const { env } = process',
    'process.exit(1)',
    'const pid = `pid ${process.pid}`',
    "const s = 'a // b'; process.exit(1)",
    'const r = /"/; process.exit(1)',
    'const env = globalThis.process.env',
    "const env = globalThis['process'].env",
    "import { env } from 'node:process'",
    "import process from 'process'",
    'const all = [...process.argv]',
    'const o = { ...process }',
    'const o = yes ? process : null',
  ]) {
    t.equal(processInMain([file('cache/a.ts', text)]).length, 1, `told: ${text}`)
    t.strictSame(
      processInMain([file('main.ts', text), file('simulator/main.ts', text)]),
      [],
      `fine in main: ${text}`,
    )
  }
  for (const text of [
    '/** what the process brings */',
    '// process.exit(1)',
    "const s = 'process'",
    'const r = /process/g',
    'const t = `the process`',
    'job.process()',
    'interface A { process: string; process?: string }',
    'const processed = preprocess(1)',
    'const a = b / c // process / d',
  ]) {
    t.strictSame(processInMain([file('cache/a.ts', text)]), [], `fine: ${text}`)
  }
  t.equal(
    processInMain([file('simulator/server.ts', 'process.exit()')]).length,
    1,
    'told: elsewhere in the simulator',
  )
})

await t.test('one file translates to Prometheus', async (t) => {
  t.strictSame(onePromClient(src), [])
  const user = file('ops/metrics.ts', "import { Registry } from 'prom-client'")
  t.strictSame(onePromClient([user, file('ops/a.ts', "import x from 'prom-client-x'")]), [])
  t.equal(onePromClient([user, file('ops/b.ts', "import type { Gauge } from 'prom-client'")]).length, 1)
  t.equal(onePromClient([user, file('ops/b.ts', "import { x } from 'prom-client/lib/x.js'")]).length, 1)
  t.equal(onePromClient([]).length, 1)
})

await t.test('no file has over 250 lines', async (t) => {
  t.strictSame(shortFiles(src), [])
  t.strictSame(shortFiles([file('a.ts', 'x\n'.repeat(250)), file('b.ts', `${'x\n'.repeat(249)}x`)]), [])
  t.equal(shortFiles([file('a.ts', 'x\n'.repeat(251))]).length, 1)
})

await t.test('the rules look at the whole house', async (t) => {
  const rooms = new Set(src.map(({ path }) => roomOf(path)))
  for (const room of [
    'main',
    'app',
    'config',
    'http',
    'cache',
    'upstream',
    'ops',
    'availability',
    'errors',
    'observer',
  ]) {
    t.ok(rooms.has(room), room)
  }
  const app = src.find(({ path }) => path === 'src/app.ts')
  t.ok(app !== undefined && importsOf(app).length > 10, 'imports are found')
})
