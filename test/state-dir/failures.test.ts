import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import type { Environment } from './service.ts'
import { allShow, build, logged, setup, until } from './service.ts'

/* A state directory that fails while processes use it, or before they start. */

t.setTimeout(180_000)
const built = await build()
t.teardown(() => rmSync(built, { recursive: true, force: true }))
const REPLACED = 'state file unreadable, replaced by an empty one'
const UNAVAILABLE = 'shared cache unavailable, continuing without it'

const random = (length: number) => Buffer.from(Array.from({ length }, (_, i) => (i * 7_919) & 255))
const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  truncated: (path) => truncateSync(path, 20_000),
  overwritten: (path) => {
    const bytes = readFileSync(path)
    random(bytes.length - 8_192).copy(bytes, 8_192)
    writeFileSync(path, bytes)
  },
  // A read does not use them, and a write does.
  'page numbers': (path) => {
    const bytes = readFileSync(path)
    for (let page = 2 * 4_096; page < bytes.length; page += 4_096) bytes[page] = bytes.readUInt8(page) ^ 0xff
    writeFileSync(path, bytes)
  },
  'no file': (path) => {
    rmSync(path)
    mkdirSync(path)
  },
}

await t.test('a store file that cannot be used is moved aside with a warning', async (t) => {
  const { start, dir } = await setup(t, built)
  const before = await start()
  await Promise.all(Array.from({ length: 50 }, async (_, i) => (await before.get(`s${i}`)).text()))
  await before.end('SIGTERM')
  const startDamaged = async ([name, damage]: [string, (path: string) => void]) => {
    const copy = join(dir, '..', name)
    cpSync(dir, copy, { recursive: true })
    damage(join(copy, 'state.mdb'))
    const { get, process } = await start({ STATE_DIR: copy })
    const { status } = await get('a')
    return [name, status, logged(process, REPLACED), readdirSync(copy).includes('state.mdb.damaged')]
  }
  const results = await Promise.all(Object.entries(DAMAGES).map(startDamaged))
  t.strictSame(
    results,
    Object.keys(DAMAGES).map((name) => [name, 200, true, true]),
  )
})

await t.test('a directory that cannot be used is exit code 78 with a sentence', async (t) => {
  const { dir, failedStart } = await setup(t, built)
  mkdirSync(join(dir, 'newer'), { recursive: true })
  writeFileSync(join(dir, 'file'), '')
  writeFileSync(join(dir, 'newer/version'), '2\n')
  const cases: [Environment, RegExp][] = [
    [{ STATE_DIR: join(dir, 'file') }, /STATE_DIR: .* is a file, not a directory/],
    [{ STATE_DIR: join(dir, 'newer') }, /STATE_DIR: .* was written by a newer version of this service/],
    [{ REDIS_URL: 'redis://127.0.0.1:1' }, /STATE_DIR and REDIS_URL: expected one of them, got both/],
  ]
  const results = await Promise.all(cases.map(([environment]) => failedStart(environment)))
  t.match(
    results,
    cases.map(([, stderr]) => ({ code: 78, stderr })),
  )
})

await t.test('a directory that is removed or replaced: the quota goes on', async (t) => {
  const { start, dir, calls } = await setup(t, built, { UPSTREAM_QUOTA: '100/month' })
  const services = await Promise.all([start(), start()])
  const [first, second] = services
  const remaining = (left: number) => async () => {
    const shown = await Promise.all(services.map(({ metric }) => metric('evproxy_quota_remaining')))
    return shown.every((value) => value === left)
  }
  for (const id of ['a', 'b', 'c']) await first.get(id)
  await until('both know what was spent', remaining(97))
  rmSync(dir, { recursive: true })
  await until('it is made again', () => readdirSync(join(dir, '..')).includes('state'), 12_000)
  await until('it is used', () => readdirSync(dir).includes('state.mdb'))
  await until('the store is up', allShow(services, 1))
  await second.get('d')
  await until('the count goes on', remaining(96))
  renameSync(dir, `${dir}.away`)
  writeFileSync(dir, '')
  await until('the failure is shown', allShow(services, 0), 6_000)
  await Promise.all([first.get('e'), second.get('f')])
  t.ok(services.every(({ process }) => logged(process, UNAVAILABLE)))
  await until('calls are still counted together', remaining(94))
  rmSync(dir)
  renameSync(`${dir}.away`, dir)
  await until('the store is up again', allShow(services, 1), 15_000)
  t.equal(calls(), 6)
  await until('nothing is forgotten', remaining(94))
  writeFileSync(join(dir, 'version'), '2\n')
  await until('a newer version has taken over', allShow(services, 0), 6_000)
  t.equal((await first.get('g')).status, 200, 'it goes on alone')
  t.equal(await second.metric('evproxy_quota_remaining'), 47, 'with its part of what was left')
  writeFileSync(join(dir, 'version'), '1\n')
  await until('the store is up after a rollback', allShow(services, 1), 15_000)
  await until('the call is counted', remaining(93))
})

await t.test('a lock file that is removed while processes use it: none writes beside another', async (t) => {
  const { start, dir, calls } = await setup(t, built, { UPSTREAM_QUOTA: '1000/month' })
  const services = await Promise.all([start(), start()])
  await services[0].get('a')
  rmSync(join(dir, 'state.mdb-lock'))
  const all = [...services, await start()]
  const ask = (tag: string) =>
    Promise.all(all.map((service, i) => service.get(`${tag}${i}`).then(({ status }) => status)))
  t.strictSame(await ask('during'), [200, 200, 200])
  await until('all use the store again', allShow(all, 1), 15_000)
  t.strictSame(await ask('after'), [200, 200, 200])
  const remaining = async () => Promise.all(all.map(({ metric }) => metric('evproxy_quota_remaining')))
  await until('the count is exact', async () => (await remaining()).every((left) => left === 1_000 - calls()))
  t.strictSame([calls(), ...all.map(({ process }) => process.stderr)], [7, '', '', ''])
})

/** A file system of its own with so many bytes; null if this user may mount none. */
function mountTmpfs(t: Test, bytes: number): string | null {
  const dir = mkdtempSync(join(tmpdir(), 'evproxy-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    return null
  }
  t.teardown(() => {
    execFileSync('umount', ['--lazy', dir])
    rmdirSync(dir)
  })
  return dir
}

function fill(path: string): void {
  try {
    for (;;) writeFileSync(path, Buffer.alloc(4_096), { flag: 'a' })
  } catch {
    // It is full.
  }
}

await t.test('on a full disk processes go on, and together stay within the quota', async (t) => {
  const disk = mountTmpfs(t, 2_000_000)
  if (disk === null) return t.pass('no file system can be mounted here')
  const { start, calls } = await setup(t, built, { UPSTREAM_QUOTA: '40/month' }, disk)
  const services = await Promise.all([start(), start()])
  await services[0].get('a')
  fill(join(disk, 'fill'))
  await until('the failure is shown', allShow(services, 0), 6_000)
  const ask = async (id: number) => (await services[id % 2]?.get(`s${id}`))?.status
  const statuses = await Promise.all(Array.from({ length: 120 }, (_, i) => ask(i)))
  t.ok(statuses.includes(200) && statuses.includes(503), statuses.join(' '))
  t.ok(calls() <= 40, `${calls()} calls`)
  t.equal((await services[0].get('a')).status, 200)
  rmSync(join(disk, 'fill'))
  await until('the store is up again', allShow(services, 1), 15_000)
  const spent = calls()
  const left = async () => Promise.all(services.map(({ metric }) => metric('evproxy_quota_remaining')))
  await until('both know what was spent', async () => (await left()).every((value) => value === 40 - spent))
  t.strictSame(
    services.map(({ process }) => process.stderr),
    ['', ''],
  )
})

/** A process that begins a transaction and stays in it. */
const HOLDER = `
import { openDatabases } from '${built}/dist/state-dir/databases.js'
const db = openDatabases(process.argv[2], 1e8)
db.env.transactionSync(() => {
  db.records.putSync('quota:month', 'half')
  for (let i = 0; i < 50; i++) db.answers.putSync('half' + i, Buffer.alloc(3_000))
  process._rawDebug('in a transaction')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
  return null
})
`

await t.test('a process that is killed or stopped delays the others, and changes nothing', async (t) => {
  const { start, dir, upstream, calls } = await setup(t, built, { UPSTREAM_QUOTA: '100/month' })
  const script = join(t.testdir({ 'holder.mjs': HOLDER }), 'holder.mjs')
  const services = await Promise.all([start(), start()])
  const [first, second] = services
  const hold = async () => {
    const child = spawn(process.execPath, [script, join(dir, 'state.mdb')], {
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    await once(child.stderr, 'data')
    return child
  }

  const killed = await hold()
  const waiting = first.get('a')
  killed.kill('SIGKILL')
  t.equal((await waiting).status, 200)
  t.strictSame([first.process.stderr, calls()], ['', 1])

  const stopped = await hold()
  t.equal((await first.get('b')).status, 200)
  t.equal((await first.get('a')).headers.get('cache-status')?.includes('hit'), true)
  await until('the failure is shown', allShow(services, 0), 6_000)
  stopped.kill('SIGKILL')
  await until('the store is up again', allShow(services, 1), 15_000)
  await until('the call is counted', async () => (await second.metric('evproxy_quota_remaining')) === 98)

  upstream.hold = true
  void first.get('x').catch(() => {})
  await until('it calls with the lease', () => calls() === 3)
  first.process.child.kill('SIGSTOP')
  upstream.hold = false
  const since = performance.now()
  t.equal((await second.get('x')).status, 200)
  t.ok(performance.now() - since < 3_000)
  await hold()
  t.equal((await second.get('y')).status, 200)
  t.ok((await second.end('SIGTERM')) < 8_000, 'it ends, although its thread waits for another process')
})
