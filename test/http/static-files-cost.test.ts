import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { request } from '../support/request.ts'
import { startService } from '../support/service.ts'

/*
 * What pipelined requests for the static files cost the process. Node parses all requests of a packet in one go, so that
 * what one response costs is multiplied by as many.
 */

const REQUESTS = 1_000
const MAX_GROWTH_MB = 20
/** CPU of one turn of the event loop: other processes of the machine would count in the time that passes. */
const MAX_TURN_MS = 50
/** What the process does besides counts too, such as collecting garbage of the tests. */
const MAX_ATTEMPTS = 3

/** Sends its argument so often in one go and reads until the connection ends. */
const CLIENT = `
  const [port, bytes, count] = process.argv.slice(1)
  const socket = require('node:net').connect(Number(port), '127.0.0.1')
  socket.on('error', () => {}).resume()
  socket.write(bytes.repeat(Number(count)))
`

/** A process of its own, so that its work is not measured. */
async function sendRequests(port: number, bytes: string): Promise<void> {
  const args = ['-e', CLIENT, String(port), bytes, String(REQUESTS)]
  await once(spawn(process.execPath, args, { env: {}, stdio: ['ignore', 'ignore', 'inherit'] }), 'close')
}

interface Cost {
  /** CPU time of the longest turn of the event loop. */
  readonly turnMs: number
  readonly growthMb: number
}

async function costOf(action: () => Promise<unknown>): Promise<Cost> {
  const before = process.memoryUsage.rss()
  let [turnMs, peak] = [0, before]
  let last = process.cpuUsage()
  let isDone = false
  const turn = () => {
    const now = process.cpuUsage()
    turnMs = Math.max(turnMs, (now.user + now.system - last.user - last.system) / 1_000)
    last = now
    peak = Math.max(peak, process.memoryUsage.rss())
    if (!isDone) setImmediate(turn)
  }
  setImmediate(turn)
  await action()
  isDone = true
  return { turnMs, growthMb: (peak - before) / 2 ** 20 }
}

function isLittle({ turnMs, growthMb }: Cost): boolean {
  return turnMs < MAX_TURN_MS && growthMb < MAX_GROWTH_MB
}

const FILES = {
  '/docs/swagger-ui-bundle.js without compression': ['/docs/swagger-ui-bundle.js', ''],
  '/openapi.yaml with gzip': ['/openapi.yaml', 'Accept-Encoding: gzip\r\n'],
} as const

for (const [name, [path, header]] of Object.entries(FILES)) {
  await t.test(`a thousand pipelined requests for ${name} cost little`, async (t) => {
    const service = await startService(t)
    const headers = header === '' ? {} : { 'accept-encoding': 'gzip' }
    t.equal((await request(service.proxy.url, path, { headers })).status, 200)
    const { port } = service.proxy.addresses.public
    const answered = () => service.proxy.metric('evproxy_requests_total{format="none",status="200"}')
    const before = await answered()
    let cost: Cost = { turnMs: Number.POSITIVE_INFINITY, growthMb: Number.POSITIVE_INFINITY }
    for (let i = 0; i < MAX_ATTEMPTS && !isLittle(cost); i++) {
      const bytes = `GET ${path} HTTP/1.1\r\nHost: a\r\n${header}\r\n`
      cost = await costOf(() => sendRequests(port, bytes))
    }
    const count = (await answered()) - before
    t.ok(count > 50, `${count} are answered; the rest ends with the connection`)
    t.ok(isLittle(cost), `${cost.turnMs} ms in one turn, ${cost.growthMb.toFixed(1)} MB`)
  })
}
