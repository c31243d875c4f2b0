import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
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

function run(args: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  const env = { PATH: process.env['PATH'] ?? '', ...environment }
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(dir, 'dist/main.js'), ...args],
      { env },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
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
