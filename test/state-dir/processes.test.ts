import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import type { Environment } from './service.ts'
import { build, launch, logged, start, startUpstream, until } from './service.ts'

/* The service as processes over one state directory, with kill -9, damage and removal. */

t.setTimeout(180_000)
const built = await build()
t.teardown(() => rmSync(built, { recursive: true, force: true }))
const REPLACED = 'state file unreadable, replaced by an empty one'

async function setup(t: Test, environment: Environment = {}) {
  const dir = join(t.testdir({}), 'state')
  const { origin, calls } = await startUpstream(t)
  const settings = { STATE_DIR: dir, CACHE_TTL: '1h', ...environment }
  return {
    dir,
    calls,
    start: (changed: Environment = {}) => start(t, built, origin, { ...settings, ...changed }),
    /** The exit code and what was written to stderr. */
    failedStart: async (changed: Environment) => {
      const process = launch(t, built, origin, { ...settings, ...changed })
      return { code: await process.exited, stderr: process.stderr }
    },
  }
}

await t.test('a restart continues with answers, their age and ETag, without a call', async (t) => {
  const { start, calls, dir } = await setup(t)
  const first = await start()
  const before = await first.get('a')
  await Promise.all(Array.from({ length: 30 }, async (_, i) => (await first.get(`s${i}`)).text()))
  await until('all are stored', async () => (await first.metric('evproxy_cache_entries')) === 31)
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  await first.end('SIGKILL')
  const second = await start()
  const after = await second.get('a')
  t.equal(after.headers.get('etag'), before.headers.get('etag'))
  t.match(after.headers.get('cache-status'), 'hit')
  t.ok(Number(after.headers.get('age')) >= 1)
  await until('all are in memory', async () => (await second.metric('evproxy_cache_entries')) === 31)
  t.equal(calls(), 31)
  t.ok((await second.end('SIGTERM')) < 2_000)
  const modes = readdirSync(dir).map(
    (name) => `${name} ${(statSync(join(dir, name)).mode & 0o777).toString(8)}`,
  )
  t.strictSame(modes, ['state.mdb 600', 'state.mdb-lock 600', 'version 600'])
  t.equal(statSync(dir).mode & 0o777, 0o700)
  const key = 'test-key-0123456789abcdef'
  t.notOk(readdirSync(dir).some((name) => readFileSync(join(dir, name)).includes(key)))
})

await t.test('a TTL of 0 serves nothing that an earlier process stored', async (t) => {
  const { start, calls } = await setup(t)
  const first = await start()
  await first.get('a')
  await first.end('SIGTERM')
  const second = await start({ CACHE_TTL: '0' })
  t.match((await second.get('a')).headers.get('cache-status'), 'fwd=uri-miss')
  t.equal(calls(), 2)
})

await t.test('processes on one directory make one call for a station', async (t) => {
  const { start, calls } = await setup(t)
  const services = await Promise.all([start(), start()])
  const statuses = await Promise.all(
    Array.from({ length: 300 }, async (_, i) => (await services[i % 2]?.get('cold'))?.status),
  )
  t.strictSame([...new Set(statuses)], [200])
  t.equal(calls(), 1)
})

/** Spends a quota as fast as it can. A call is a byte that is appended to the file of its arguments. */
const SPENDER = `
import { appendFileSync } from 'node:fs'
import { systemClock } from '${built}/dist/lib/clock.js'
import { openStateDirStores } from '${built}/dist/state-dir/stores.js'
import { SharedQuota } from '${built}/dist/upstream/state/shared-quota.js'
const [, , dir, calls, limit] = process.argv
const observer = { sharedCacheChanged() {}, stateFileReplaced: () => appendFileSync(calls + '.replaced', 'x') }
const { quota } = await openStateDirStores({ dir, answerBytes: 1e6 }, { clock: systemClock, observer })
const ledger = new SharedQuota({ limit: Number(limit), per: 'month' }, { store: quota, clock: systemClock, share: 1 })
setInterval(() => {}, 1_000)
process.stdout.write('ready')
const spend = async () => {
  while ((await ledger.acquire(false, false)) === 0) appendFileSync(calls, '.')
}
await Promise.all([spend(), spend()])
process.stdout.write('spent ' + ledger.spent)
`

await t.test('20 kills at random moments under load never let a quota be exceeded', async (t) => {
  const limit = 100_000
  const dir = t.testdir({ 'spender.mjs': SPENDER, calls: '' })
  const calls = join(dir, 'calls')
  const spender = async (max = limit) => {
    const args = [join(dir, 'spender.mjs'), join(dir, 'state'), calls, `${max}`]
    const child = spawn(process.execPath, args, {
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    await until('it spends', () => output.startsWith('ready'))
    return { child, output: () => output, exited: once(child, 'exit') }
  }
  const killed = async () => {
    for (let round = 0; round < 10; round++) {
      const { child, exited } = await spender()
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100))
      child.kill('SIGKILL')
      await exited
    }
  }
  await Promise.all([killed(), killed()])
  const made = statSync(calls).size
  const { output } = await spender(1) // reads what was spent, and may spend nothing
  await until('it has read the usage', () => /spent \d+/.test(output()))
  const recorded = Number(/spent (\d+)/.exec(output())?.[1])
  t.ok(made > 0 && recorded >= made && recorded <= made + 20 * 2, `${recorded} recorded, ${made} made`)
  t.notOk(existsSync(`${calls}.replaced`), 'the store file stays intact')
})

await t.test('a store file that cannot be read is moved aside with a warning', async (t) => {
  const damages: Record<string, (path: string) => void> = {
    foreign: (path) => writeFileSync(path, 'hello'),
    truncated: (path) => truncateSync(path, 20_000),
    overwritten: (path) => {
      const bytes = readFileSync(path)
      for (let i = 8_192; i < bytes.length; i++) bytes[i] = (i * 7_919) & 255
      writeFileSync(path, bytes)
    },
  }
  const { start, dir } = await setup(t)
  const results: unknown[] = []
  for (const [name, damage] of Object.entries(damages)) {
    const before = await start()
    await Promise.all(Array.from({ length: 50 }, async (_, i) => (await before.get(`s${i}`)).text()))
    await before.end('SIGTERM')
    damage(join(dir, 'state.mdb'))
    const after = await start()
    const { status } = await after.get('a')
    results.push([
      name,
      status,
      logged(after.process, REPLACED),
      readdirSync(dir).includes('state.mdb.damaged'),
    ])
    await after.end('SIGTERM')
  }
  t.strictSame(
    results,
    Object.keys(damages).map((name) => [name, 200, true, true]),
  )
})

await t.test('a removed directory is created again, and the quota goes on', async (t) => {
  const { start, dir } = await setup(t, { UPSTREAM_QUOTA: '100/month' })
  const service = await start()
  for (const id of ['a', 'b', 'c']) await service.get(id)
  rmSync(dir, { recursive: true })
  await until('the directory is there', () => readdirSync(join(dir, '..')).includes('state'))
  await until('it is used', () => readdirSync(dir).includes('state.mdb'))
  await until('the store is up', async () => (await service.metric('evproxy_shared_cache_up')) === 1)
  await service.get('d')
  await until('the usage is read', async () => (await service.metric('evproxy_quota_remaining')) === 96)
  t.ok(logged(service.process, 'shared cache unavailable, continuing without it'))
})

await t.test('a directory that cannot be used is exit code 78 with a sentence', async (t) => {
  const { dir, failedStart } = await setup(t)
  mkdirSync(dir)
  writeFileSync(join(dir, 'file'), '')
  const newer = join(dir, 'newer')
  mkdirSync(newer)
  writeFileSync(join(newer, 'version'), '2\n')
  const cases: [Environment, RegExp][] = [
    [{ STATE_DIR: join(dir, 'file') }, /STATE_DIR: .* is a file, not a directory/],
    [{ STATE_DIR: join(dir, 'file/below') }, /STATE_DIR: .* cannot be created: a part of the path is a file/],
    [{ STATE_DIR: '/proc/evproxy' }, /STATE_DIR: .* cannot be created: /],
    [{ STATE_DIR: newer }, /STATE_DIR: .* was written by a newer version of this service/],
    [{ REDIS_URL: 'redis://127.0.0.1:1' }, /STATE_DIR and REDIS_URL: expected one of them, got both/],
  ]
  const results: unknown[] = []
  for (const [environment] of cases) results.push(await failedStart(environment))
  t.match(
    results,
    cases.map(([, stderr]) => ({ code: 78, stderr })),
  )
})
