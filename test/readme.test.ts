import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { STATUS_OF } from '../src/errors.ts'

const root = new URL('../', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, root), 'utf8')
const readme = read('README.md')

await t.test('the README names every error code with its status', async (t) => {
  for (const [code, status] of Object.entries(STATUS_OF)) {
    const row = readme
      .split('\n')
      .find((line) => line.includes(`\`${code}\``) && line.trimStart().startsWith('|'))
    t.ok(row?.includes(String(status)), `${code} stands in a row of ${status}`)
  }
})

await t.test('every npm script that a text names exists', async (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const file of ['README.md', 'CONTRIBUTING.md']) {
    for (const [, name = ''] of read(file).matchAll(/npm run ([\w:]+)/g))
      t.ok(name in scripts, `${file}: ${name}`)
  }
})

await t.test('every file that the threat model names as a test exists', async (t) => {
  const named = new Set(read('SECURITY.md').match(/\btest\/[\w/-]+\.test\.ts\b/g))
  t.ok(named.size > 10)
  for (const path of named) t.ok(existsSync(new URL(path, root)), path)
})

await t.test('every file that a text links to exists', async (t) => {
  for (const file of ['README.md', 'CONTRIBUTING.md', 'SECURITY.md']) {
    for (const [, target = ''] of read(file).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      t.ok(existsSync(new URL(target, root)), `${file}: ${target}`)
    }
  }
})
