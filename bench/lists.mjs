// What lists and streams cost: node bench/lists.mjs (needs a build). A batch of 100 cached stations against 100 single hits
// in CPU time of the process, and 1,000 quiet streams of 20 stations in memory and CPU.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

const STREAMS = 1_000
const STATIONS = 20
const QUIET_MS = 30_000
const TICKS_PER_SECOND = 100 // of /proc/<pid>/stat on Linux

const row = (powerKW) => ({ powerKW, available: 1, occupied: 1, reserved: 0, unknown: 0, outOfService: 0 })
const current = { available: 2, occupied: 2, reserved: 0, unknown: 0, outOfService: 0 }
const connectors = ['IEC62196Type2Outlet', 'Chademo', 'IEC62196Type2CCS'].map((type) => ({
  type,
  total: 4,
  availability: { current, perPowerLevel: [row(22), row(50)] },
}))
const upstream = createServer((incoming, response) => {
  const id = new URL(incoming.url, 'http://upstream').searchParams.get('chargingAvailability')
  response.end(JSON.stringify({ connectors, chargingAvailability: id }))
}).listen(0, '127.0.0.1')
await once(upstream, 'listening')

const settings = {
  TOMTOM_API_KEY: 'a-key-of-the-benchmark',
  TOMTOM_BASE_URL: `http://127.0.0.1:${upstream.address().port}`,
  HOST: '127.0.0.1',
  PORT: '18080',
  ADMIN_PORT: '0',
  LOG_LEVEL: 'info',
  UPSTREAM_MAX_QPS: '0',
  CACHE_TTL: '10m',
  EVENTS_MAX_STREAMS: '2000',
  TRUSTED_PROXIES: '127.0.0.1',
}
const proxy = spawn(process.execPath, [new URL('../dist/main.js', import.meta.url).pathname], {
  env: settings,
})
proxy.stderr.pipe(process.stderr)
await once(proxy.stdout, 'data')
const base = { host: '127.0.0.1', port: 18080 }
const agent = new Agent({ keepAlive: true, maxSockets: 4 })

const ids = Array.from({ length: 100 }, (_, i) => `00112233-4455-6677-8899-${String(i).padStart(12, '0')}`)
const batch = JSON.stringify({
  batchItems: ids.map((id) => ({ query: `/chargingAvailability.json?chargingAvailability=${id}` })),
})

/** The response's body, read to its end. */
async function send(options, body) {
  const outgoing = request({ ...base, agent, ...options })
  outgoing.end(body)
  const [response] = await once(outgoing, 'response')
  response.resume()
  await once(response, 'end')
}
const single = (id) => send({ path: `/search/2/chargingAvailability.json?chargingAvailability=${id}` })
const list = () =>
  send(
    { method: 'POST', path: '/search/2/batch/sync.json', headers: { 'content-type': 'application/json' } },
    batch,
  )

/** Seconds of CPU of the process so far. */
function cpu() {
  const fields = readFileSync(`/proc/${proxy.pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}
const residentMB = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${proxy.pid}/status`, 'utf8'))[1]) / 1024

async function cpuOf(times, action) {
  const before = cpu()
  for (let i = 0; i < times; i++) await action(i)
  return ((cpu() - before) / times) * 1e6
}

await list()
for (let i = 0; i < 100; i++) await list() // warm
for (let i = 0; i < 10_000; i++) await single(ids[i % 100])
const perBatch = await cpuOf(1_000, list)
const perHit = await cpuOf(20_000, (i) => single(ids[i % 100]))
console.log(
  `a batch of 100 cached stations: ${perBatch.toFixed(0)} µs of CPU; a hit: ${perHit.toFixed(1)} µs; a batch costs ${(perBatch / perHit).toFixed(1)} hits`,
)

const memoryBefore = residentMB()
const query = ids
  .slice(0, STATIONS)
  .map((id) => `chargingAvailability=${id}`)
  .join('&')
for (let i = 0; i < STREAMS; i++) {
  const headers = { 'x-forwarded-for': `10.0.${Math.floor(i / 20)}.${i % 20}` }
  const outgoing = request({ ...base, agent: false, path: `/events?${query}`, headers })
  outgoing.end()
  const [response] = await once(outgoing, 'response')
  response.resume()
  response.on('error', () => {})
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
}
await wait(2_000)
const cpuBefore = cpu()
await wait(QUIET_MS)
const share = (cpu() - cpuBefore) / (QUIET_MS / 1000)
console.log(
  `${STREAMS} quiet streams of ${STATIONS} stations: ${(residentMB() - memoryBefore).toFixed(0)} MB, ${(share * 100).toFixed(2)} % of a core`,
)
proxy.kill('SIGTERM')
await once(proxy, 'exit')
process.exit(0)
