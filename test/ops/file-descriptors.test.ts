import { connect } from 'node:net'
import type { Socket } from 'node:net'
import t from 'tap'
import { CHECK_INTERVAL_MS, watchFileDescriptors } from '../../src/ops/file-descriptors.ts'
import { TestClock } from '../support/clock.ts'
import { build, Process } from '../support/process.ts'
import { pathFor, request } from '../support/request.ts'
import { answerStation, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

function setup(codes: readonly (string | null)[]) {
  const clock = new TestClock()
  const events: string[] = []
  let checks = 0
  const stop = watchFileDescriptors({
    clock,
    observer: {
      fileDescriptorsExhausted: () => void events.push('exhausted'),
      fileDescriptorsFreed: () => void events.push('freed'),
    },
    open: () => {
      const code = codes[checks++ % codes.length]
      if (code !== null) throw Object.assign(new Error('no'), { code })
    },
  })
  return { clock, events, stop, checks: () => checks }
}

await t.test('a descriptor is opened every five seconds, until the watch is stopped', async (t) => {
  const { clock, events, checks, stop } = setup([null])
  await clock.advance(CHECK_INTERVAL_MS - 1)
  t.equal(checks(), 0)
  await clock.advance(1)
  t.equal(checks(), 1)
  await clock.advance(CHECK_INTERVAL_MS * 3)
  t.equal(checks(), 4)
  stop()
  await clock.advance(CHECK_INTERVAL_MS * 3)
  t.equal(checks(), 4)
  t.strictSame(events, [])
})

await t.test('each failed check is an event, and so is the first that succeeds again', async (t) => {
  const { clock, events } = setup([null, 'EMFILE', 'ENFILE', null, null, 'EMFILE'])
  for (let i = 0; i < 6; i++) await clock.advance(CHECK_INTERVAL_MS)
  t.strictSame(events, ['exhausted', 'exhausted', 'freed', 'exhausted'])
})

await t.test('another error does not mean that there are no descriptors', async (t) => {
  const { clock, events } = setup(['ENOENT', 'EACCES'])
  await clock.advance(CHECK_INTERVAL_MS * 2)
  t.strictSame(events, [])
})

/** A start needs up to 100, as modules are read at the same time. */
const MAX_DESCRIPTORS = 200

await t.test('a process without free descriptors says so once, serves on, and recovers', async (t) => {
  const upstream = await ScriptedUpstream.start(answerStation)
  t.teardown(() => upstream.stop())
  const environment = {
    TOMTOM_API_KEY: 'test-key-0123456789abcdef',
    TOMTOM_BASE_URL: upstream.origin,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
  }
  const limited = ['bash', '-c', `ulimit -n ${MAX_DESCRIPTORS}; exec "$@"`, 'limited']
  const service = new Process(await build(), environment, limited)
  t.teardown(() => service.child.kill('SIGKILL'))
  const { url, adminUrl } = await service.urls()
  const hit = pathFor('chargingAvailability=a')
  t.equal((await request(url, hit)).status, 200)

  const kept = await keptConnection(Number(new URL(url).port), hit)
  t.teardown(() => kept.socket.destroy())
  const open = () => connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  const others = Array.from({ length: MAX_DESCRIPTORS * 2 }, open)
  // A connection to upstream that is closed meanwhile frees a descriptor.
  const opening = setInterval(() => others.push(open()), 100)
  const endOthers = () => {
    clearInterval(opening)
    for (const socket of others) socket.destroy()
  }
  t.teardown(endOthers)
  await service.logged('no file descriptors left, new connections are dropped', 15_000)
  t.match(await kept.get(), /^HTTP\/1\.1 200 /, 'hits are served on open connections')

  endOthers()
  const end = await service.logged('file descriptors available again', 15_000)
  t.match(end, { level: 'info', times: 1 })
  t.ok(Number(end['state.duration']) > 0)
  t.equal((await request(url, hit)).status, 200)
  const { text } = await request(adminUrl, '/metrics')
  t.match(text, /^evproxy_file_descriptors_exhausted_total [1-9]/m)
  const began = service.lines.filter(({ msg }) => String(msg).startsWith('no file descriptors'))
  t.equal(began.length, 1)
})

/** A connection that stays open, and the next response on it. */
async function keptConnection(
  port: number,
  path: string,
): Promise<{ socket: Socket; get: () => Promise<string> }> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  const get = async () => {
    text = ''
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await until('it is answered', () => text !== '')
    return text
  }
  await get()
  return { socket, get }
}
