import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { READ_EVERY_MS } from '../../src/lib/watched-file.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStation, answerStatus, Barrier } from '../support/scripted-upstream.ts'
import { hang, waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'

const code = (name: string) => JSON.stringify({ detailedError: { code: name, message: 'x' } })
const BAD_KEY = answerStatus(403, code('Forbidden'))

async function start(t: Test, script: Script, env: Record<string, string | undefined> = {}) {
  const service = await startService(t, {
    script,
    env: { CHECK_KEY_AT_START: 'true', UPSTREAM_TIMEOUT: '300ms', UPSTREAM_QUOTA: '100/day', ...env },
  })
  const isReady = async () => (await service.requestAdmin('/readyz')).status === 200
  return { ...service, isReady }
}

const logged = ({ proxy }: Awaited<ReturnType<typeof start>>) =>
  proxy.logs.filter(({ msg }) => /not ready/.test(String(msg)))

for (const [name, script] of [
  ['403 Forbidden', BAD_KEY],
  ['401', answerStatus(401)],
  ['403 Developer Inactive', answerStatus(403, '<h1>Developer Inactive</h1>')],
  ['403 InvalidReferer', answerStatus(403, code('InvalidReferer'))],
] as const) {
  await t.test(`a key that upstream rejects keeps the process unready: ${name}`, async (t) => {
    const service = await start(t, script)
    await until('the rejection is logged', () => logged(service).length > 0)
    t.match(logged(service), [{ level: 'error' }])
    t.equal(await service.isReady(), false)
    t.equal((await service.requestAdmin('/livez')).status, 200)
    t.equal(service.upstream.calls.length, 1)
    t.equal(await service.proxy.metric('evproxy_quota_remaining'), 99)
    t.match((await service.requestAdmin('/status')).text, /TOMTOM_API_KEY|domain/)
  })
}

for (const [name, script] of [
  ['an answer', answerStation],
  ['404', answerStatus(404)],
  ['500', answerStatus(500)],
  ['429', answerStatus(429)],
  ['403 InsufficientFunds', answerStatus(403, code('InsufficientFunds'))],
  ['403 Developer Over Qps', answerStatus(403, '<h1>Developer Over Qps</h1>')],
  ['a timeout', hang],
] as const) {
  await t.test(`any other outcome makes the process ready: ${name}`, async (t) => {
    const service = await start(t, script)
    await until('the process is ready', () => service.isReady())
    t.equal(service.upstream.calls.length, 1)
    t.strictSame(logged(service), [])
  })
}

await t.test('the process is not ready before the check has ended', async (t) => {
  const barrier = new Barrier()
  const service = await start(t, waitFor(barrier), { UPSTREAM_TIMEOUT: '1m' })
  await service.upstream.arrived(1)
  t.equal(await service.isReady(), false)
  barrier.open()
  await until('the process is ready', () => service.isReady())
})

await t.test('an exhausted quota makes no check and the process ready', async (t) => {
  const service = await start(t, BAD_KEY, { UPSTREAM_QUOTA: '1/day', UPSTREAM_LIMIT_SHARE: '1/2' })
  await until('the process is ready', () => service.isReady())
  t.equal(service.upstream.calls.length, 0)
})

await t.test('without the setting no call is made', async (t) => {
  const service = await start(t, BAD_KEY, { CHECK_KEY_AT_START: undefined })
  t.equal(await service.isReady(), true)
  t.equal(service.upstream.calls.length, 0)
})

await t.test('a changed key is checked again', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'evproxy-key-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'key')
  writeFileSync(file, 'wrong-key-0123')
  const script: Script = (call, response, request) =>
    (call.url.searchParams.get('key') === 'right-key-0123' ? answerStation : BAD_KEY)(call, response, request)
  const service = await start(t, script, { TOMTOM_API_KEY: undefined, TOMTOM_API_KEY_FILE: file })
  await until('the rejection is logged', () => logged(service).length > 0)
  writeFileSync(file, 'right-key-0123')
  await until('the process is ready', () => service.isReady(), READ_EVERY_MS + 5_000)
  t.equal(service.upstream.calls.length, 2)
})
