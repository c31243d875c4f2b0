import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openDatabases } from '../../src/state-dir/databases.ts'
import { prepareDirectory, UnusableDirectoryError } from '../../src/state-dir/directory.ts'
import { inspectDirectory } from '../../src/state-dir/inspect.ts'

/** The warnings of a directory, or the sentence with which it is rejected. */
function reportOf(dir: string, look: (dir: string) => unknown = inspectDirectory): unknown {
  try {
    return look(dir)
  } catch (error) {
    if (error instanceof UnusableDirectoryError) return error.message
    throw error
  }
}

/** All that can change: names, contents, sizes, modes and times. */
function contentOf(dir: string): unknown {
  return readdirSync(dir, { recursive: true })
    .map(String)
    .toSorted()
    .map((name) => {
      const stats = statSync(join(dir, name), { throwIfNoEntry: false })
      const text = stats?.isFile() === true ? readFileSync(join(dir, name), 'latin1') : null
      return [name, text, stats?.size, stats?.mode, stats?.mtimeMs]
    })
}

await t.test('a directory that a start would use is inspected without a change', async (t) => {
  const dir = t.testdir({
    empty: {},
    used: {},
    'cut off': { version: '', 'state.mdb': '' },
    'other lock': { 'state.mdb-lock': {} },
  })
  const db = openDatabases(prepareDirectory(join(dir, 'used')), 1e7)
  db.records.putSync('a', 1)
  t.teardown(() => db.env.close())
  const before = contentOf(dir)
  const names = [
    'empty',
    'used',
    'cut off',
    'other lock',
    'missing',
    'missing/../dots',
    'missing/with/parents',
  ]
  t.strictSame(
    names.map((name) => reportOf(join(dir, name))),
    names.map(() => []),
  )
  t.strictSame(contentOf(dir), before)
})

await t.test('a directory that cannot be used is rejected with the sentence of a start', (t) => {
  const dir = t.testdir({ file: '', newer: { version: '2\n' }, odd: { version: {} } })
  symlinkSync(join(dir, 'nothing'), join(dir, 'link'))
  const names = ['file', 'file/below', 'newer', 'odd', 'link', 'link/below']
  const reports = names.map((name) => reportOf(join(dir, name)))
  const link = /is a link to a directory that does not exist$/
  t.match(reports, [/is a file/, /is a file/, /newer version/, /not a regular file$/, link, link])
  t.strictSame(
    reports,
    names.map((name) => reportOf(join(dir, name), prepareDirectory)),
  )
  t.end()
})

await t.test('what a start would move aside is a warning, and stays where it is', (t) => {
  const foreign: Readonly<Record<string, (path: string) => void>> = {
    directory: (path) => mkdirSync(path),
    pipe: (path) => execFileSync('mkfifo', [path]),
    'link to nothing': (path) => symlinkSync('/nonexistent/x', path),
    'another file': (path) => writeFileSync(path, 'SQLite format 3\0'.repeat(500)),
    'a short file': (path) => writeFileSync(path, 'x'),
  }
  const parent = t.testdir({})
  for (const [name, create] of Object.entries(foreign)) {
    mkdirSync(join(parent, name))
    create(join(parent, name, 'state.mdb'))
  }
  const before = contentOf(parent)
  t.match(
    Object.keys(foreign).map((name) => reportOf(join(parent, name))),
    Object.keys(foreign).map(() => [/state\.mdb is not a store of this service: a start moves it aside/]),
  )
  t.strictSame(contentOf(parent), before)
  t.end()
})
