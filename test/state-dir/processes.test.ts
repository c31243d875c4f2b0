import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build, setup, until } from './service.ts'

/* The service as processes over one state directory, with kill -9. */

t.setTimeout(180_000)
const built = await build()
t.teardown(() => rmSync(built, { recursive: true, force: true }))

await t.test(
  'a restart continues with answers, their age and ETag, and negative entries, without a call',
  async (t) => {
    const { start, calls, dir } = await setup(t, built)
    const first = await start()
    const before = await first.get('a')
    t.equal((await first.get('none')).status, 404)
    await Promise.all(Array.from({ length: 30 }, async (_, i) => (await first.get(`s${i}`)).text()))
    await until('all are stored', async () => (await first.metric('evproxy_cache_entries')) === 31)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    await first.end('SIGKILL')
    const second = await start()
    const after = await second.get('a')
    t.equal(after.headers.get('etag'), before.headers.get('etag'))
    t.match(after.headers.get('cache-status'), 'hit')
    t.ok(Number(after.headers.get('age')) >= 1)
    t.equal((await second.get('none')).status, 404)
    await until('all are in memory', async () => (await second.metric('evproxy_cache_entries')) === 31)
    t.equal(calls(), 32)
    t.ok((await second.end('SIGTERM')) < 2_000)
    const modes = readdirSync(dir).map(
      (name) => `${name} ${(statSync(join(dir, name)).mode & 0o777).toString(8)}`,
    )
    t.strictSame(modes, ['state.mdb 600', 'state.mdb-lock 600', 'version 600'])
    t.equal(statSync(dir).mode & 0o777, 0o700)
    const key = 'test-key-0123456789abcdef'
    t.notOk(readdirSync(dir).some((name) => readFileSync(join(dir, name)).includes(key)))
  },
)

await t.test('a TTL of 0 serves nothing that an earlier process stored', async (t) => {
  const { start, calls } = await setup(t, built)
  const first = await start()
  await first.get('a')
  await first.end('SIGTERM')
  const second = await start({ CACHE_TTL: '0' })
  t.match((await second.get('a')).headers.get('cache-status'), 'fwd=uri-miss')
  t.equal(calls(), 2)
})

/** With the same process id each, as the first process of containers. */
const IN_CONTAINER = ['unshare', '--pid', '--fork', '--kill-child']
const isRoot = process.getuid?.() === 0

await t.test(
  'processes on one directory make one call for a station, and have one quota and rate',
  async (t) => {
    const limits = { UPSTREAM_MAX_QPS: '10', UPSTREAM_QUOTA: '100/month', CACHE_MAX_TTL: '1h' }
    const { start, calls } = await setup(t, built, limits)
    const services = await Promise.all([0, 1, 2, 3].map(() => start({}, isRoot ? IN_CONTAINER : [])))
    const ask = (ids: readonly string[]) =>
      Promise.all(ids.map(async (id, i) => (await services[i % 4]?.get(id))?.status))
    t.strictSame([...new Set(await ask(Array.from({ length: 300 }, () => 'cold')))], [200])
    t.equal(calls(), 1)
    const startedAt = performance.now()
    const statuses = await ask(Array.from({ length: 60 }, (_, i) => `s${i}`))
    const seconds = (performance.now() - startedAt) / 1_000
    const answered = statuses.filter((status) => status === 200).length
    t.equal(calls(), 1 + answered)
    t.ok(answered >= 9 && answered <= 10 * (Math.floor(seconds) + 1), `${answered} calls in ${seconds} s`)
    const remaining = () => Promise.all(services.map(({ metric }) => metric('evproxy_quota_remaining')))
    const expected = 100 - calls()
    await until('all show one quota', async () => (await remaining()).every((left) => left === expected))
  },
)

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
    for (let round = 0; round < 5; round++) {
      const { child, exited } = await spender()
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100))
      child.kill('SIGKILL')
      await exited
    }
  }
  await Promise.all([killed(), killed(), killed(), killed()])
  const made = statSync(calls).size
  const { output } = await spender(1) // reads what was spent, and may spend nothing
  await until('it has read the usage', () => /spent \d+/.test(output()))
  const recorded = Number(/spent (\d+)/.exec(output())?.[1])
  t.ok(made > 0 && recorded >= made && recorded <= made + 20 * 2, `${recorded} recorded, ${made} made`)
  t.notOk(existsSync(`${calls}.replaced`), 'the store file stays intact')
})
