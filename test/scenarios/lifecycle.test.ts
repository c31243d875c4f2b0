import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { request, pathFor } from '../support/request.ts'
import { expectedJson } from '../support/expected.ts'
import { build, Process } from '../support/process.ts'
import { TEST_KEY } from '../support/proxy.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStation, Barrier, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { waitFor, hang } from '../support/scripts.ts'
import { referenceStation } from '../support/stations.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

/** Upper bound for a start on a busy machine; on an idle one it takes a sixth of it. */
const START_WITHIN_MS = 3_000

const dir = await build()
t.teardown(() => {
  rmSync(dir, { recursive: true, force: true })
})

interface Started {
  readonly service: Process
  readonly upstream: ScriptedUpstream
  readonly url: string
  readonly adminUrl: string
}

const SETTINGS = {
  TOMTOM_API_KEY: TEST_KEY,
  HOST: '127.0.0.1',
  PORT: '0',
  ADMIN_PORT: '0',
  UPSTREAM_MAX_QPS: '0',
  UPSTREAM_TIMEOUT: '1m',
}

function launch(t: Test, environment: Record<string, string>): Process {
  const service = new Process(dir, environment)
  t.teardown(async () => {
    service.child.kill('SIGKILL')
    await service.exited
  })
  return service
}

async function start(
  t: Test,
  environment: Record<string, string> = {},
  script: Script = answerStation,
): Promise<Started> {
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  const service = launch(t, { ...SETTINGS, TOMTOM_BASE_URL: upstream.origin, ...environment })
  return { service, upstream, ...(await service.urls()) }
}

await t.test('the start of the process', async (t) => {
  const { service, url, adminUrl } = await start(t)

  await t.test('the process answers soon after its start', async (t) => {
    const firstAnswer = async (one: Pick<Started, 'service' | 'url'>) => {
      const { text } = await request(one.url, pathFor('chargingAvailability=a'))
      if (text !== expectedJson(referenceStation('a'))) throw new Error(`answered ${text}`)
      return performance.now() - one.service.startedAt
    }
    let bestMs = await firstAnswer({ service, url })
    // Other work on the machine may delay a start: the best of a few counts.
    for (let i = 0; i < 4 && bestMs > START_WITHIN_MS; i++) {
      bestMs = Math.min(bestMs, await firstAnswer(await start(t)))
    }
    t.comment(`from the start of the process to its first answer: ${Math.round(bestMs)} ms`)
    t.ok(bestMs < START_WITHIN_MS, `within ${START_WITHIN_MS} ms`)
  })

  await t.test('the first log line has version and settings, with the key masked', async (t) => {
    const [first] = service.lines
    t.match(first, {
      level: 'info',
      msg: 'started',
      version: /^\d+\.\d+\.\d+/,
      settings: { TOMTOM_API_KEY: /^\*+$/, CACHE_TTL: '30s', PORT: '0', LOG_LEVEL: 'info' },
    })
    t.match(first?.['time'], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    t.notMatch(service.stdout + service.stderr, TEST_KEY)
  })

  await t.test('the started process is live and ready', async (t) => {
    t.equal((await request(adminUrl, '/livez')).status, 200)
    t.equal((await request(adminUrl, '/readyz')).status, 200)
    t.equal((await request(url, '/openapi.yaml')).status, 200, 'the packaged document is served')
  })
})

await t.test('a signal to stop', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    await t.test(`${signal} ends the process with 0 after requests in flight are answered`, async (t) => {
      const barrier = new Barrier()
      const { service, upstream, url, adminUrl } = await start(t, {}, waitFor(barrier))
      const inFlight = Array.from({ length: 16 }, (_, i) =>
        request(url, pathFor(`chargingAvailability=${i}`)),
      )
      await upstream.arrived(16)
      service.child.kill(signal)
      await service.logged('stopping')
      await until('no new connection is accepted', () =>
        request(url, '/healthz').then(
          () => false,
          () => true,
        ),
      )
      const readiness = await request(adminUrl, '/readyz').then(({ status }) => status)
      t.equal(readiness, 503, 'the process is not ready meanwhile')
      barrier.open()
      const answers = await Promise.all(inFlight)
      t.ok(answers.every(({ status, headers }) => status === 200 && headers.connection === 'close'))
      t.equal(await service.exited, 0)
      t.equal(service.lines.at(-1)?.['msg'], 'stopped', 'the last line reports the stop')
      t.equal(service.stderr, '')
    })
  }

  await t.test(
    'a stop with 20 slow requests and 16 idle clients per listener has no errors and no delay',
    async (t) => {
      const barrier = new Barrier()
      const { service, upstream, url, adminUrl } = await start(
        t,
        { UPSTREAM_MAX_CONNECTIONS: '20' },
        waitFor(barrier),
      )
      const agent = new Agent({ keepAlive: true, maxSockets: 16 })
      t.teardown(() => agent.destroy())
      const idle = Array.from({ length: 32 }, (_, i) =>
        keptAlive(i % 2 === 0 ? `${url}/healthz` : `${adminUrl}/livez`, agent),
      )
      await Promise.all(idle)
      const slow = Array.from({ length: 20 }, (_, i) => request(url, pathFor(`chargingAvailability=${i}`)))
      await upstream.arrived(20)
      service.child.kill('SIGTERM')
      await service.logged('stopping')
      barrier.open()
      t.ok((await Promise.all(slow)).every(({ status }) => status === 200))
      const answeredAt = performance.now()
      t.equal(await service.exited, 0)
      const tookMs = Math.round(performance.now() - answeredAt)
      t.ok(tookMs < 2_000, `${tookMs} ms from the last response to the exit`)
      t.equal(service.stderr, '')
    },
  )

  await t.test(
    'a stop causes no error for 16 clients that send requests on keep-alive connections',
    async (t) => {
      const { service, url } = await start(t)
      let [answered, closed] = [0, 0]
      const client = async (number: number) => {
        const agent = new Agent({ keepAlive: true, maxSockets: 1 })
        for (let last = false; !last; answered++) {
          last = await isLastResponse(`${url}${pathFor('chargingAvailability=a')}`, agent)
          await new Promise((resolve) => setTimeout(resolve, (number * 7 + answered) % 40))
        }
        closed++
        agent.destroy()
      }
      const clients = Promise.all(Array.from({ length: 16 }, (_, number) => client(number)))
      await until('all clients have sent requests', () => answered > 64)
      service.child.kill('SIGTERM')
      await t.resolves(clients)
      t.equal(closed, 16)
      t.equal(await service.exited, 0)
    },
  )

  await t.test('a connection without any request does not delay the stop', async (t) => {
    const { service, url } = await start(t)
    const { hostname, port } = new URL(url)
    const silent = connect(Number(port), hostname)
    await once(silent, 'connect')
    t.equal((await request(url, '/healthz')).status, 200, 'the connection has been accepted')
    const before = performance.now()
    service.child.kill('SIGTERM')
    t.equal(await service.exited, 0)
    t.ok(performance.now() - before < 3_000, 'long before DRAIN_TIMEOUT')
    silent.destroy()
  })

  await t.test('SIGTERM during the start ends the process', async (t) => {
    const ends: unknown[] = []
    for (const afterMs of [60, 140, 220, 300, 400]) {
      const both = [{}, { STATE_DIR: temporaryFolder() }].map(async (environment) => {
        const service = launch(t, { ...SETTINGS, TOMTOM_BASE_URL: 'http://127.0.0.1:9', ...environment })
        await new Promise((resolve) => setTimeout(resolve, afterMs))
        service.child.kill('SIGTERM')
        const end = await service.exited
        const messages = new Set(service.lines.map(({ msg }) => msg))
        return [end, service.stderr, !messages.has('started') || messages.has('stopped')]
      })
      ends.push(...(await Promise.all(both)))
    }
    // Until a handler is installed, the kernel ends the process. One that listens is stopped in order.
    t.match(
      ends,
      ends.map(() => [/^(?:0|SIGTERM)$/, '', true]),
    )
  })

  await t.test('a second SIGTERM ends the process at once', async (t) => {
    const barrier = new Barrier()
    const { service, upstream, url } = await start(t, { DRAIN_TIMEOUT: '1m' }, waitFor(barrier))
    const inFlight = request(url, pathFor('chargingAvailability=a')).catch(() => 'cut')
    await upstream.arrived(1)
    service.child.kill('SIGTERM')
    await service.logged('stopping')
    const before = performance.now()
    service.child.kill('SIGTERM')
    t.not(await service.exited, 0, 'the exit code is not 0')
    t.ok(performance.now() - before < 1_000)
    t.equal(await inFlight, 'cut')
  })

  await t.test('SIGTERM ends 1,000 event streams at once, and then the process', async (t) => {
    const { service, url } = await start(t, { EVENTS_MAX_STREAMS: '1000', TRUSTED_PROXIES: '127.0.0.1' })
    const streams = Array.from({ length: 1_000 }, (_, i) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('latin1')
      t.teardown(() => socket.destroy())
      const stream = { text: '', closed: once(socket, 'close') }
      socket.on('data', (text: string) => (stream.text += text))
      const client = `10.0.${Math.floor(i / 20)}.1` // 20 streams each
      const path = '/events?chargingAvailability=a&chargingAvailability=b'
      socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: ${client}\r\n\r\n`)
      return stream
    })
    const isComplete = ({ text }: { text: string }) => text.split('event: availability').length === 3
    await until('both stations have arrived everywhere', () => streams.every(isComplete), 30_000)
    service.child.kill('SIGTERM')
    await Promise.all(streams.map(({ closed }) => closed))
    t.equal(streams.filter(({ text }) => !text.endsWith('0\r\n\r\n')).length, 0, 'each body is complete')
    t.equal(await service.exited, 0)
    const [stopping, stopped] = [await service.logged('stopping'), await service.logged('stopped')]
    const tookMs = Date.parse(String(stopped['time'])) - Date.parse(String(stopping['time']))
    t.ok(tookMs < 10_000, `within DRAIN_TIMEOUT: ${tookMs} ms`)
  })

  await t.test('a request that takes longer than DRAIN_TIMEOUT is cut', async (t) => {
    const { service, upstream, url } = await start(t, { DRAIN_TIMEOUT: '300ms' }, hang)
    const inFlight = request(url, pathFor('chargingAvailability=a')).catch(() => 'cut')
    await upstream.arrived(1)
    const before = performance.now()
    service.child.kill('SIGTERM')
    t.equal(await inFlight, 'cut')
    await service.exited
    const tookMs = performance.now() - before
    t.ok(tookMs >= 250 && tookMs < 2_500, `${Math.round(tookMs)} ms`)
  })

  await t.test(
    'during DRAIN_DELAY the process serves requests, is not ready, and closes connections',
    async (t) => {
      const { service, url, adminUrl } = await start(t, { DRAIN_DELAY: '1500ms' })
      service.child.kill('SIGTERM')
      await service.logged('stopping')
      const answer = await request(url, pathFor('chargingAvailability=a'), {
        headers: { connection: 'keep-alive' },
      })
      t.equal(answer.status, 200)
      t.equal(answer.headers.connection, 'close')
      t.equal((await request(adminUrl, '/readyz')).status, 503)
      t.equal((await request(adminUrl, '/livez')).status, 200)
      t.equal(await service.exited, 0)
    },
  )
})

await t.test('a process that cannot start reports the reason', async (t) => {
  await t.test('an invalid configuration is reported at once with exit code 78', async (t) => {
    const service = launch(t, {
      TOMTOM_API_KEY: 'a key with cAnArY',
      TOMTOM_BASE_URL: 'ftp://upstream.example',
      PORT: '99999',
      CACHE_TTL: '30',
      CACHE_MAX_ENTRIES: '-1',
      LOG_LEVEL: 'loud',
      CORS_ORIGINS: 'example.org',
    })
    t.equal(await service.exited, 78)
    const [line, ...more] = service.lines
    t.match(line, { level: 'fatal', msg: 'invalid configuration', 'service.version': /^\d/ })
    t.match(line, { problems: { length: 7 } }, 'the log has one line, with every problem')
    t.equal(more.length, 0)
    t.notMatch(service.stdout, 'cAnArY', 'and no value of a secret')
    const problems = service.stderr.trim().split('\n').slice(1)
    t.equal(problems.length, 7)
    const names = [
      'TOMTOM_API_KEY',
      'TOMTOM_BASE_URL',
      'PORT',
      'CACHE_TTL',
      'CACHE_MAX_ENTRIES',
      'LOG_LEVEL',
      'CORS_ORIGINS',
    ]
    const reported = names.filter((name) =>
      problems.some((line) => line.includes(` ${name}:`) && /expected .+, got .+/.test(line)),
    )
    t.strictSame(reported, names)
    t.match(service.stderr, '"99999"', 'the received value is in the message')
    t.notMatch(service.stderr, 'cAnArY', 'values of secrets are not')
    t.notMatch(service.stderr, /^\s+at /m, 'no stack')
  })

  for (const taken of ['PORT', 'ADMIN_PORT']) {
    await t.test(`a ${taken} in use is reported with exit code 1`, async (t) => {
      const holder = createServer()
      await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
      t.teardown(() => holder.close())
      const port = String((holder.address() as AddressInfo).port)
      const service = launch(t, { ...SETTINGS, [taken]: port })
      t.equal(await service.exited, 1)
      const output = service.stdout + service.stderr
      t.match(output, /EADDRINUSE|in use/)
      t.match(output, port, 'the port is named')
      t.match(service.lines, [{ level: 'fatal', msg: 'cannot listen', 'error.type': 'EADDRINUSE' }])
      t.match(service.stderr, /^Cannot listen: .*EADDRINUSE/)
      t.notMatch(service.stderr, /^\s+at /m, 'no stack')
      t.notMatch(output, TEST_KEY)
      t.ok(
        service.lines.every(({ msg }) => typeof msg === 'string'),
        'the log is JSON to the end',
      )
    })
  }
})

await t.test('an unknown setting with a known prefix is reported as a warning', async (t) => {
  const { service, url } = await start(t, { CACHE_TTTL: '5s' })
  t.equal((await request(url, '/healthz')).status, 200)
  const warnings = service.lines.filter(({ level }) => level === 'warn')
  t.equal(warnings.length, 1)
  t.match(JSON.stringify(warnings), 'CACHE_TTTL')
})

/** Sends a request; resolves to whether the response closes the connection. */
function isLastResponse(url: string, agent: Agent): Promise<boolean> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume().on('end', () => resolve(response.headers.connection === 'close'))
    }).on('error', reject)
  })
}

function keptAlive(url: string, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode))
    }).on('error', reject)
  })
}
