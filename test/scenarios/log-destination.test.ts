import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { pathFor, request } from '../support/request.ts'
import { answerStation, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { build } from '../support/process.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'

/* The log's destination fails: requests are served, lines are dropped and counted, signals are handled. */

const dir = await build()

async function start(t: Test, stdout: number | 'pipe', environment: Record<string, string> = {}) {
  const upstream = await ScriptedUpstream.start(answerStation)
  t.teardown(() => upstream.stop())
  const [port, adminPort] = [await freePort(), await freePort()]
  const child = spawn(process.execPath, [`${dir}/dist/main.js`], {
    env: {
      TOMTOM_API_KEY: 'test-key-0123456789abcdef',
      TOMTOM_BASE_URL: upstream.origin,
      HOST: '127.0.0.1',
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      ACCESS_LOG: 'true',
      DRAIN_TIMEOUT: '2s',
      ...environment,
    },
    stdio: ['ignore', stdout, 'ignore'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const url = `http://127.0.0.1:${port}`
  await until('it serves', async () => (await request(url, '/healthz').catch(() => null))?.status === 200)
  const dropped = async () => {
    const { text } = await request(`http://127.0.0.1:${adminPort}`, '/metrics')
    return Number(/^evproxy_log_lines_dropped_total (\d+)/m.exec(text)?.[1])
  }
  return { child, url, dropped, exited }
}

/** How many of so many requests are served, ten at a time. */
async function requests(url: string, count: number): Promise<number> {
  const path = pathFor(`chargingAvailability=a&${'x'.repeat(1_000)}`)
  let served = 0
  for (let i = 0; i < count; i += 10) {
    const responses = await Promise.all(Array.from({ length: 10 }, () => request(url, path)))
    served += responses.filter(({ status }) => status === 200).length
  }
  return served
}

const endsWithin = async (exited: Promise<unknown>, ms: number) => {
  const before = performance.now()
  await exited
  return performance.now() - before < ms
}

await t.test('a full disk: lines are dropped and counted, and SIGTERM ends the process', async (t) => {
  const { child, url, dropped, exited } = await start(t, openSync('/dev/full', 'w'))
  t.equal(await requests(url, 50), 50)
  await until('all lines are counted', async () => (await dropped()) >= 50)
  child.kill('SIGTERM')
  t.ok(await endsWithin(exited, 3_000))
  t.equal(child.exitCode, 0)
})

await t.test(
  'a pipe that nobody reads: lines are dropped and counted, and SIGTERM ends the process',
  async (t) => {
    const { child, url, dropped, exited } = await start(t, 'pipe')
    child.stdout?.pause()
    let sent = 0
    await until(
      'lines are dropped',
      async () => {
        sent += 500
        t.equal(await requests(url, 500), 500)
        return (await dropped()) > 0
      },
      60_000,
    )
    t.ok(sent < 20_000, `${sent} lines`)
    child.kill('SIGTERM')
    t.ok(await endsWithin(exited, 3_500), 'within DRAIN_TIMEOUT and a margin')
  },
)

await t.test('a reader that pauses during the stop gets the last line, and the exit code is 0', async (t) => {
  const { child, url } = await start(t, 'pipe', { DRAIN_TIMEOUT: '10s' })
  const closed = once(child, 'close')
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (part: string) => (text += part))
  child.stdout?.pause()
  await requests(url, 500)
  child.kill('SIGTERM')
  await until('it has stopped listening', () =>
    request(url, '/healthz').then(
      () => false,
      () => true,
    ),
  )
  setTimeout(() => child.stdout?.resume(), 400)
  t.strictSame(await closed, [0, null])
  t.match(text.slice(-100), /"msg":"stopped"\}\n$/)
})

await t.test('a pipe that nobody reads: a second signal ends the process at once', async (t) => {
  const { child, url, exited } = await start(t, 'pipe', { DRAIN_TIMEOUT: '1m', DRAIN_DELAY: '59s' })
  child.stdout?.pause()
  await requests(url, 1_000)
  child.kill('SIGTERM')
  await until('it drains', async () => (await request(url, '/healthz')).headers.connection === 'close')
  child.kill('SIGTERM')
  t.ok(await endsWithin(exited, 1_500))
})

await t.test('a reader that has gone is no failure', async (t) => {
  const { child, url, exited } = await start(t, 'pipe')
  child.stdout?.destroy()
  t.equal(await requests(url, 20), 20)
  child.kill('SIGTERM')
  t.ok(await endsWithin(exited, 3_000))
  t.equal(child.exitCode, 0)
})
