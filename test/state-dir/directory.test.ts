import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { identityOf, prepareDirectory, UnusableDirectoryError } from '../../src/state-dir/directory.ts'

/** The sentence with which a directory is rejected; null if it is not. */
function problemOf(dir: string): string | null {
  try {
    prepareDirectory(dir)
    return null
  } catch (error) {
    if (error instanceof UnusableDirectoryError) return error.message
    throw error
  }
}

await t.test('a missing directory is created with its parents, for its owner alone', (t) => {
  const dir = join(t.testdir({}), 'a/b/state')
  const path = prepareDirectory(dir)
  t.equal(path, join(dir, 'state.mdb'))
  t.equal(statSync(dir).mode & 0o777, 0o700)
  t.strictSame(
    readdirSync(dir).map((name) => [name, statSync(join(dir, name)).mode & 0o777]),
    ['state.mdb', 'state.mdb-lock', 'version'].map((name) => [name, 0o600]),
  )
  t.equal(readFileSync(join(dir, 'version'), 'utf8'), '1\n')
  t.end()
})

await t.test('a directory that cannot be used is rejected with a sentence', (t) => {
  const dir = t.testdir({
    file: '',
    newer: { version: '2\n' },
    'much newer': { version: ' 12345678901234\r\n' },
    odd: { version: {} },
    long: { version: '1'.repeat(65) },
    pipe: {},
  })
  execFileSync('mkfifo', [join(dir, 'pipe/version')])
  symlinkSync(join(dir, 'nothing'), join(dir, 'link'))
  const names = ['file', 'file/below', 'newer', 'much newer', 'odd', 'long', 'pipe', 'link']
  t.match(
    names.map((name) => problemOf(join(dir, name))),
    [
      /\/file is a file, not a directory$/,
      /\/file is a file, not a directory$/,
      /was written by a newer version of this service \(layout 2, this version knows 1\)$/,
      /was written by a newer version of this service \(layout 12345678901234, this version knows 1\)$/,
      /cannot be written: version is not a regular file$/,
      /cannot be written: the file version is too long$/,
      /cannot be written: version is not a regular file$/,
      /link is a link to a directory that does not exist$/,
    ],
  )
  t.match(problemOf('/proc/evproxy'), /cannot be created: /)
  t.end()
})

await t.test('a version that is no number, or an older one, is replaced', (t) => {
  const dir = t.testdir({ empty: { version: '' }, text: { version: 'abc' }, zero: { version: '0\n' } })
  const versions = readdirSync(dir).map((name) => {
    prepareDirectory(join(dir, name))
    return readFileSync(join(dir, name, 'version'), 'utf8')
  })
  t.strictSame(versions, ['1\n', '1\n', '1\n'])
  t.end()
})

await t.test('what cannot be a store file is moved aside and reported', (t) => {
  const foreign: Readonly<Record<string, (path: string) => void>> = {
    directory: (path) => mkdirSync(path),
    pipe: (path) => execFileSync('mkfifo', [path]),
    'link to nothing': (path) => symlinkSync('/nonexistent/x', path),
  }
  const results = Object.entries(foreign).map(([name, create]) => {
    const dir = join(t.testdir({}), name)
    mkdirSync(dir)
    create(join(dir, 'state.mdb'))
    const replaced: string[] = []
    const path = prepareDirectory(dir, (_path, keptAs) => replaced.push(keptAs))
    const isFile = statSync(path).isFile() && statSync(`${path}-lock`).isFile()
    return [name, isFile, replaced.map((keptAs) => keptAs === `${path}.damaged`)]
  })
  t.strictSame(
    results,
    Object.keys(foreign).map((name) => [name, true, [true]]),
  )
  t.end()
})

await t.test('what cannot be a lock file is set aside, and the store file stays', (t) => {
  const foreign: Readonly<Record<string, (path: string) => void>> = {
    directory: (path) => mkdirSync(path),
    pipe: (path) => execFileSync('mkfifo', [path]),
    'link to nothing': (path) => symlinkSync('/nonexistent/x', path),
  }
  const results = Object.entries(foreign).map(([name, create]) => {
    const dir = t.testdir({ 'state.mdb': 'content' })
    create(join(dir, 'state.mdb-lock'))
    const replaced: string[] = []
    const path = prepareDirectory(dir, (_path, keptAs) => replaced.push(keptAs))
    return [name, readFileSync(path, 'utf8'), statSync(`${path}-lock`).isFile(), replaced]
  })
  t.strictSame(
    results,
    Object.keys(foreign).map((name) => [name, 'content', true, []]),
  )
  t.end()
})

await t.test('a path with dots leads to the same directory whether or not its parts exist', (t) => {
  const dir = t.testdir({})
  t.equal(prepareDirectory(`${dir}/missing/../state`), join(dir, 'state/state.mdb'))
  t.strictSame(readdirSync(dir), ['state'])
  t.end()
})

await t.test('a link to a file is followed, and another mode is corrected', (t) => {
  const dir = t.testdir({ elsewhere: 'x', state: {} })
  symlinkSync(join(dir, 'elsewhere'), join(dir, 'state/state.mdb'))
  chmodSync(join(dir, 'elsewhere'), 0o666)
  prepareDirectory(join(dir, 'state'))
  t.notOk(existsSync(join(dir, 'state/state.mdb.damaged')))
  t.equal(statSync(join(dir, 'elsewhere')).mode & 0o777, 0o600)
  t.end()
})

const isRoot = process.getuid?.() === 0
const NOBODY = 65_534

await t.test('what belongs to another user is rejected', { skip: !isRoot && 'not root' }, (t) => {
  const dir = t.testdir({ others: {}, files: {} })
  prepareDirectory(join(dir, 'files'))
  chmodSync(join(dir, 'others'), 0o700)
  chmodSync(join(dir, 'files'), 0o777)
  process.setegid?.(NOBODY)
  process.seteuid?.(NOBODY)
  const problems = ['others', 'files', 'new'].map((name) => problemOf(join(dir, name)))
  process.seteuid?.(0)
  process.setegid?.(0)
  t.match(problems, [
    /others cannot be (created|written): permission denied$/,
    /files cannot be (created|written): permission denied$/,
    /new cannot be created: permission denied$/,
  ])
  t.end()
})

await t.test('a file has another identity once it is replaced, and none once it is gone', (t) => {
  const dir = t.testdir({ file: 'x' })
  const path = join(dir, 'file')
  const first = identityOf(path)
  writeFileSync(path, 'other content')
  t.equal(identityOf(path), first)
  writeFileSync(`${path}.new`, '')
  t.not(identityOf(`${path}.new`), first)
  t.equal(identityOf(join(path, 'below')), null)
  rmSync(path)
  t.equal(identityOf(path), null)
  t.end()
})
