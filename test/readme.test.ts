import { readFileSync } from 'node:fs'
import t from 'tap'
import { STATUS_OF } from '../src/errors.ts'
import { startService } from './support/service.ts'

const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
const readme = read('README.md')
const rowsOf = (text: string) => text.split('\n').filter((line) => line.startsWith('| '))

await t.test('README.md has about 130 lines', (t) => {
  t.ok(readme.split('\n').length < 160)
  t.end()
})

await t.test('the settings in README.md have the defaults of .env.example', (t) => {
  const section = /^## Configuration\n([^]*?)^## /m.exec(readme)?.[1] ?? ''
  const rows = [...section.matchAll(/^\| `([A-Z_]+)` \| (?:–|`([^`]*)`) \|/gm)].map(([, name, preset]) => [
    name,
    preset,
  ])
  const defaults = new Map(
    [...read('.env.example').matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(([, name, preset]) => [name, preset]),
  )
  t.equal(rows.length, 9)
  const expected = rows.map(([name, preset]) => [name, preset === undefined ? undefined : defaults.get(name)])
  t.strictSame(rows, expected)
  t.strictSame(
    rows.filter(([name]) => !defaults.has(name)),
    [],
  )
  t.end()
})

await t.test('a response has the headers that the example in README.md shows', async (t) => {
  const { get } = await startService(t)
  await get('chargingAvailability=a')
  const { headers } = await get('chargingAvailability=a')
  const example = /```http\n([^]*?)```/.exec(readme)?.[1] ?? ''
  const shown = [...example.matchAll(/^([a-z-]+): /gm)].map(([, name]) => name)
  const sent = Object.keys(headers).filter((name) => !['date', 'connection', 'keep-alive'].includes(name))
  t.strictSame(new Set(shown), new Set(sent))
  t.match(headers['cache-status'], /^ev-availability-proxy; hit; ttl=\d+$/)
})

await t.test('docs/api.md has every error code with its status', (t) => {
  const rows = rowsOf(read('docs/api.md'))
  const documented = Object.entries(STATUS_OF).filter(([code, status]) =>
    rows.some((row) => row.startsWith(`| ${status} |`) && row.includes(`\`${code}\``)),
  )
  t.strictSame(documented, Object.entries(STATUS_OF))
  t.end()
})

await t.test('every npm script that a document names exists', (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const documents = [
    'README.md',
    'CONTRIBUTING.md',
    'docs/benchmarks.md',
    'docs/releasing.md',
    'docs/getting-started.md',
  ]
  const named = documents.flatMap((document) =>
    [...read(document).matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name),
  )
  t.strictSame(
    named.filter((name = '') => !(name in scripts)),
    [],
  )
  t.end()
})

await t.test('every decision has a date and a trade-off', (t) => {
  const decisions = read('docs/decisions.md').split(/^### /m).slice(1)
  const incomplete = decisions.filter(
    (text) => !/^.+\n\n\*20\d\d-\d\d-\d\d\.\* /.test(text) || !/^\*\*Trade-off:\*\* /m.test(text),
  )
  t.strictSame(
    incomplete.map((text) => text.split('\n')[0]),
    [],
  )
  t.ok(decisions.length > 30)
  t.end()
})
