import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../support/process.ts'

const dir = await build()
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function runProgram(
  program: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<Ended> {
  const env = { PATH: process.env['PATH'] ?? '', ...environment }
  return new Promise((resolve) => {
    const child = execFile(program, args, { env, cwd: tmpdir() }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

function run(args: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  return runProgram(process.execPath, [join(dir, 'dist/main.js'), ...args], environment)
}

await t.test('--check prints the settings with secrets masked and starts nothing', async (t) => {
  const { code, stdout, stderr } = await run(['--check'], {
    TOMTOM_API_KEY: 'key-that-is-secret',
    HTTPS_PROXY: 'http://user:password-of-proxy@proxy.example:3128',
    REDIS_URL: 'redis://:password-of-redis@redis.example',
    CACHE_TTL: '10s',
    CACHE_TTLS: '1',
    CACHE_MAX_BYTES: '64GB',
    PORT: '1', // it could not be opened by an unprivileged user, and is not
  })
  t.equal(code, 0)
  t.match(
    stdout.split('\n'),
    new Set(['CACHE_TTL=10s', 'TOMTOM_API_KEY=********', 'REDIS_URL=redis.example']),
  )
  t.match(stdout, /^HTTPS_PROXY=http:\/\/\*+@proxy\.example:3128$/m)
  t.match(stderr, /^warning: CACHE_TTLS is not a setting of this service$/m)
  t.match(stderr, /^warning: CACHE_MAX_BYTES is too large for the heap limit/m)
  t.notMatch(stdout + stderr, /secret|password-of/)
})

await t.test('--check of invalid settings exits with 78 and the problems', async (t) => {
  const invalid = await run(['--check'], { TOMTOM_API_KEY: 'key-0123456789', CACHE_TTL: 'soon' })
  t.match(invalid, { code: 78, stdout: '', stderr: /CACHE_TTL: expected a duration/ })
  const contradictory = { TOMTOM_API_KEY: 'key-0123456789', DRAIN_DELAY: '10s' }
  t.match(await run(['--check'], contradictory), {
    code: 78,
    stderr: /DRAIN_DELAY: expected less than DRAIN_TIMEOUT/,
  })
  t.match(await run([], contradictory), { code: 78, stderr: /DRAIN_DELAY/ })
})

const KEY = { TOMTOM_API_KEY: 'key-0123456789' }

await t.test('--check of a STATE_DIR that a start would reject exits with 78 and its sentence', async (t) => {
  const dir = t.testdir({ file: '', newer: { version: '9\n' }, foreign: { 'state.mdb': 'text' } })
  const check = (name: string) => run(['--check'], { ...KEY, STATE_DIR: join(dir, name) })
  t.match(await Promise.all(['file', 'newer', 'foreign', 'missing'].map(check)), [
    { code: 78, stdout: '', stderr: /^.*STATE_DIR: .*\/file is a file, not a directory$/m },
    { code: 78, stdout: '', stderr: /STATE_DIR: .* was written by a newer version of this service/ },
    { code: 0, stdout: /STATE_DIR=/, stderr: /^warning: STATE_DIR: .* is not a store of this service/m },
    { code: 0, stdout: /STATE_DIR=/, stderr: '' },
  ])
  t.strictSame(readdirSync(dir, { recursive: true }).length, 5)
})

const isRoot = process.getuid?.() === 0
/** Runs a command as another user, and without the loaders of the tests, which write files. */
const AS_NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups', 'env', '-i']

await t.test('--check rejects a directory of another user', { skip: !isRoot && 'not root' }, async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'evproxy-state-'))
  t.teardown(() => rmSync(parent, { recursive: true }))
  for (const name of ['others', 'files']) mkdirSync(join(parent, name))
  for (const path of [parent, dir, join(parent, 'files')]) chmodSync(path, 0o777)
  chmodSync(join(parent, 'others'), 0o700)
  writeFileSync(join(parent, 'files/state.mdb'), '', { mode: 0o600 })
  writeFileSync(join(parent, 'files/version'), '1\n')
  const check = (name: string) => {
    const settings = [`TOMTOM_API_KEY=${KEY.TOMTOM_API_KEY}`, `STATE_DIR=${join(parent, name)}`]
    const command = [process.execPath, join(dir, 'dist/main.js'), '--check']
    return runProgram('setpriv', [...AS_NOBODY, ...settings, ...command])
  }
  t.match(await Promise.all(['others', 'others/below', 'files', 'new'].map(check)), [
    { code: 78, stderr: /\/others cannot be written: permission denied/ },
    { code: 78, stderr: /\/others\/below cannot be created: permission denied/ },
    { code: 78, stderr: /\/files\/state\.mdb cannot be written: permission denied/ },
    { code: 0, stderr: '' },
  ])
})

await t.test('--version prints the version without any setting', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  t.strictSame(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

await t.test('an unknown option exits with 64 and the usage', async (t) => {
  const usage = { code: 64, stdout: '', stderr: /^usage: / }
  t.match(
    [await run(['--chek']), await run(['--check', '--version']), await run(['start'])],
    [usage, usage, usage],
  )
})
