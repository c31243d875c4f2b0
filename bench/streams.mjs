/**
 * What live updates cost: memory and CPU of 1,000 quiet streams of 20 stations, the time from upstream's answer to the
 * event at every client with 10 changes a second, the time in which a stop ends all streams, and the calls of 1,000 streams
 * against those of one. Fails if a figure exceeds its bound in LIMITS.
 * Usage: npm run bench:streams [-- seconds of each part, parts: quiet, latency, calls]
 */
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { openStreams } from './lib/event-clients.mjs'
import { startService } from './lib/live-service.mjs'
import { cpuSeconds, useLoadCore } from './lib/process.mjs'
import { quantile } from './lib/stats.mjs'
import { PATH, stationId } from './lib/stations.mjs'

const STREAMS = 1_000
const STATIONS = 20
const CHANGES_PER_SECOND = 10
const LIMITS = { memoryMB: 100, quietShare: 0.05, p99Ms: 50, drainMs: 10_000 }
const SETTINGS = { EVENTS_MAX_STREAMS: '2000', TRUSTED_PROXIES: '127.0.0.1' }
const seconds = Number(process.argv[2] ?? 30)
const parts = process.argv[3]?.split(',') ?? ['quiet', 'latency', 'calls']

const same = Array.from({ length: STATIONS }, (_, i) => stationId(i))
const problems = []
useLoadCore()
if (parts.includes('quiet')) {
  await quiet('the same stations', () => same)
  await quiet('stations of their own', (stream) => same.map((_, i) => stationId(stream * STATIONS + i)))
}
if (parts.includes('latency')) await latency()
if (parts.includes('calls')) await calls()
for (const problem of problems) console.error(`over the limit: ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1

/** Nothing changes and nothing is refreshed; then SIGTERM. */
async function quiet(name, idsOf) {
  const service = await startService({ ...SETTINGS, CACHE_TTL: '1h' })
  const ids = [...new Set(Array.from({ length: STREAMS }, (_, i) => idsOf(i)).flat())]
  for (const id of ids) await get(service, id)
  const before = service.residentMB()
  const streams = await openStreams(service.port, STREAMS, idsOf)
  await wait(3_000)
  const [cpuBefore, began] = [cpuSeconds(service.pid), performance.now()]
  await wait(seconds * 1_000)
  const share = (cpuSeconds(service.pid) - cpuBefore) / ((performance.now() - began) / 1_000)
  const memoryMB = service.residentMB() - before
  const drainMs = await drained(service, streams)
  console.log(
    `${STREAMS} quiet streams of ${STATIONS}, ${name} (${ids.length} in all): ${memoryMB.toFixed(0)} MB, ` +
      `${(share * 100).toFixed(2)} % of a core; SIGTERM ends them, and the process, after ${drainMs.map((ms) => ms.toFixed(0)).join(' and ')} ms`,
  )
  check('memoryMB', memoryMB)
  check('quietShare', share)
  check('drainMs', drainMs[1])
}

/** When the last stream has ended, and when the process has, in ms after SIGTERM. */
async function drained(service, streams) {
  const began = performance.now()
  const ended = Promise.all(streams.map((socket) => once(socket, 'close')))
  const stopped = service.stop()
  await ended
  const streamsMs = performance.now() - began
  await stopped
  return [streamsMs, performance.now() - began]
}

/** A request after the TTL brings a change; it goes to all streams. */
async function latency() {
  const service = await startService({ ...SETTINGS, CACHE_TTL: '1s', CACHE_STALE_WHILE_REVALIDATE: '0' })
  const { answeredAt } = service.upstream
  const delays = []
  const onChange = (change) => {
    if (change > 0) delays.push(performance.now() - answeredAt.get(change))
  }
  const streams = await openStreams(service.port, STREAMS, () => same, onChange)
  await wait(2_000)
  const cpuBefore = cpuSeconds(service.pid)
  const count = seconds * CHANGES_PER_SECOND
  const began = performance.now()
  for (let change = 1; change <= count; change++) {
    const id = same[change % STATIONS]
    service.upstream.setChange(id, change)
    void get(service, id)
    await wait(Math.max(0, began + (change * 1_000) / CHANGES_PER_SECOND - performance.now()))
  }
  const share = (cpuSeconds(service.pid) - cpuBefore) / ((performance.now() - began) / 1_000)
  await wait(1_000)
  const [p50, p99, longest] = [0.5, 0.99, 1].map((part) => quantile(delays, part))
  console.log(
    `${CHANGES_PER_SECOND} changes a second to ${STREAMS} streams, ${delays.length} of ${count * STREAMS} events: ` +
      `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)}, longest ${longest.toFixed(1)}; ${(share * 100).toFixed(0)} % of a core`,
  )
  check('p99Ms', p99)
  if (delays.length !== count * STREAMS) problems.push('events are missing')
  for (const socket of streams) socket.destroy()
  await service.stop()
}

/** Side by side, for as long as three refreshes of stations of unknown rate take. */
async function calls() {
  const [one, many] = await Promise.all(
    [1, STREAMS].map(async (streams) => {
      const service = await startService({ ...SETTINGS, CACHE_TTL: '5s' })
      const sockets = await openStreams(service.port, streams, () => same)
      await wait(200_000)
      const count = service.upstream.callCount()
      for (const socket of sockets) socket.destroy()
      await service.stop()
      return count
    }),
  )
  console.log(`calls for ${STATIONS} stations in 200 s: ${one} with one stream, ${many} with ${STREAMS}`)
  if (many > one + STATIONS) problems.push(`${many} calls with ${STREAMS} streams`)
}

async function get({ port }, id) {
  const response = await fetch(`http://127.0.0.1:${port}${PATH}.json?chargingAvailability=${id}`)
  await response.arrayBuffer()
}

function check(name, value) {
  if (!(value < LIMITS[name])) problems.push(`${name}: ${value.toFixed(2)}, expected under ${LIMITS[name]}`)
}
