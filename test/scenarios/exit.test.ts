import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { build, Process } from '../support/process.ts'
import { pathFor, request } from '../support/request.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStation, Barrier, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { waitFor } from '../support/scripts.ts'
import { until } from '../support/until.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const dir = await build()

/**
 * A module that blocks a thread of libuv for ever, as a lookup at a silent name server does for up to 40 s: it opens a
 * pipe that nobody writes to.
 */
function blockedThread(): string {
  const folder = temporaryFolder()
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const file = join(folder, 'block.mjs')
  writeFileSync(file, `import { open } from 'node:fs'\nopen(${JSON.stringify(pipe)}, () => {})\n`)
  return `--import=${file}`
}

async function start(t: Test, environment: Record<string, string> = {}, script: Script = answerStation) {
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  const service = new Process(dir, {
    TOMTOM_API_KEY: 'test-key-0123456789abcdef',
    TOMTOM_BASE_URL: upstream.origin,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    ...environment,
  })
  t.teardown(() => service.child.kill('SIGKILL'))
  return { service, upstream, ...(await service.urls()) }
}

async function msUntilExit(service: Process): Promise<number> {
  const before = performance.now()
  await service.exited
  return performance.now() - before
}

await t.test('a blocked thread does not hold the exit', async (t) => {
  const { service } = await start(t, { NODE_OPTIONS: blockedThread(), DRAIN_TIMEOUT: '2s' })
  service.child.kill('SIGTERM')
  const ms = await msUntilExit(service)
  t.ok(ms < 3_500, `${ms} ms`)
  await service.logged('stopped')
})

await t.test('a blocked thread does not hold the exit after a second signal', async (t) => {
  const { service, url } = await start(t, {
    NODE_OPTIONS: blockedThread(),
    DRAIN_TIMEOUT: '1m',
    DRAIN_DELAY: '59s',
  })
  service.child.kill('SIGTERM')
  await service.logged('stopping')
  t.equal((await request(url, '/healthz')).status, 200)
  service.child.kill('SIGTERM')
  const ms = await msUntilExit(service)
  t.ok(ms < 1_500, `${ms} ms`)
})

await t.test(
  'five pipelined misses in flight at SIGTERM are all answered, and the last closes',
  async (t) => {
    const barrier = new Barrier()
    const { service, upstream, url } = await start(t, {}, waitFor(barrier))
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    const ended = new Promise((resolve) => socket.once('end', resolve))
    const paths = [1, 2, 3, 4, 5].map((id) => pathFor(`chargingAvailability=${id}`))
    socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''))
    await upstream.arrived(5)
    service.child.kill('SIGTERM')
    await service.logged('stopping')
    barrier.open()
    await ended
    const heads = text.split('HTTP/1.1 ').slice(1)
    t.strictSame(
      heads.map((head) => [head.slice(0, 3), /connection: close/i.test(head)]),
      [1, 2, 3, 4, 5].map((id) => ['200', id === 5]),
    )
    t.equal(await service.exited, 0)
  },
)

await t.test('SIGHUP and SIGUSR1 are ignored with a log line', async (t) => {
  const { service, url } = await start(t)
  const ignored = () =>
    service.lines.filter(({ msg }) => msg === 'signal ignored').map((line) => line['signal'])
  service.child.kill('SIGHUP')
  service.child.kill('SIGUSR1')
  await until('both are logged', () => ignored().length === 2)
  t.strictSame(new Set(ignored()), new Set(['SIGHUP', 'SIGUSR1']))
  t.equal((await request(url, pathFor('chargingAvailability=a'))).status, 200)
  t.notMatch(service.stderr, 'Debugger')
})

await t.test('a start that fails is reported on standard error, whatever LOG_LEVEL is', async (t) => {
  const { url } = await start(t)
  const service = new Process(dir, {
    TOMTOM_API_KEY: 'test-key-0123456789abcdef',
    HOST: '127.0.0.1',
    PORT: new URL(url).port,
    ADMIN_PORT: '0',
    LOG_LEVEL: 'silent',
  })
  t.equal(await service.exited, 1)
  t.match(service.stderr, /^Cannot listen: .*EADDRINUSE/)
  t.equal(service.stdout, '')
})

await t.test('NODE_TLS_REJECT_UNAUTHORIZED=0 is rejected at the start', async (t) => {
  const service = new Process(dir, {
    TOMTOM_API_KEY: 'test-key-0123456789abcdef',
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
  })
  t.equal(await service.exited, 78)
  t.match(service.stderr, 'NODE_TLS_REJECT_UNAUTHORIZED')
})

await t.test('the environment of the process contains no secret after the start', async (t) => {
  const folder = temporaryFolder()
  const { service } = await start(t, {
    NODE_OPTIONS: `--report-on-signal --report-signal=SIGUSR2 --report-directory=${folder}`,
    CLIENT_KEYS: 'web=cAnArY-cAnArY-cAnArY',
  })
  service.child.kill('SIGUSR2')
  const report = () =>
    execFileSync('sh', ['-c', `cat ${folder}/*.json 2>/dev/null || true`], { encoding: 'utf8' })
  await until('the report is written', () => report().trimEnd().endsWith('}'))
  t.match(report(), '"environmentVariables"')
  t.notMatch(report(), /test-key-0123456789abcdef|cAnArY/)
})

await t.test('HOST=localhost opens one server, with the bounds and errors of the service', async (t) => {
  const { service, url } = await start(t, { HOST: 'localhost' })
  const { port } = new URL(url)
  const answers = await Promise.all(
    ['127.0.0.1', '[::1]'].map((host) =>
      request(`http://${host}:${port}`, '/nothing').then(
        ({ status, headers }) => [status, headers['access-control-allow-origin']],
        () => 'closed',
      ),
    ),
  )
  t.ok(answers.some((answer) => Array.isArray(answer)))
  t.strictSame(
    answers.filter((answer) => answer !== 'closed'),
    answers.filter((answer) => answer !== 'closed').map(() => [404, '*']),
  )
  service.child.kill('SIGTERM')
  t.equal(await service.exited, 0)
})
