/**
 * What a miss adds to upstream's own time: one request at a time, each station asked for once, in turn with upstream
 * itself. Every way has the machine for itself, and has answered some thousand misses before, as a service has that is
 * at work: code that ran a few times only takes twice as long. Upstream is called as the proxy calls it, for gzip.
 */
import { Pool } from 'undici'
import { PATH } from '../lib/stations.mjs'
import { median, quantile, table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { peers } from '../peers/index.mjs'

const LATENCY_MS = 80
const WARM_MISSES = 3_000
const CONNECTIONS = 64
const AGAIN = 'upstream itself again (A/A)'

export async function misses({ names, quick, rounds, say }) {
  const times = rounds === null ? (quick ? 30 : 150) : rounds * 50
  const upstream = await startUpstream({ latencyMs: LATENCY_MS })
  const direct = wayTo('upstream itself', upstream.port, { 'accept-encoding': 'gzip' })
  await warmUp(direct)
  const rows = [await compare({ ...direct, title: AGAIN }, direct, times)]
  for (const name of names.filter((name) => peers[name].caches && name !== 'nginx-stored')) {
    const { title } = peers[name]
    say(`misses: ${title}, ${WARM_MISSES} to warm up, then ${times}`)
    const server = await peers[name].start({
      upstreamPort: upstream.port,
      ttlSeconds: 600,
      staleSeconds: 600,
    })
    const way = wayTo(title, server.port)
    await warmUp(way)
    rows.push(await compare(way, direct, times))
    await way.pool.close()
    await server.stop()
  }
  await direct.pool.close()
  await upstream.stop()
  const setting = `Upstream takes ${LATENCY_MS} ms; after ${WARM_MISSES} others, ${times} misses each, one at a time.`
  return [setting, table(['', 'p50 ms', 'upstream itself', 'added at p50', 'added at p99'], rows)].join(
    '\n\n',
  )
}

const wayTo = (title, port, headers = {}) => {
  return { title, headers, pool: new Pool(`http://127.0.0.1:${port}`, { connections: CONNECTIONS }) }
}

async function warmUp(way) {
  let left = WARM_MISSES
  const ask = async () => {
    while (left-- > 0) await timeOf(way)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, ask))
}

async function compare(way, direct, times) {
  const [through, itself] = [[], []]
  for (let i = 0; i < times; i++) {
    itself.push(await timeOf(direct))
    through.push(await timeOf(way))
  }
  const added = (part) => (quantile(through, part) - quantile(itself, part)).toFixed(2)
  return [way.title, median(through).toFixed(2), median(itself).toFixed(2), added(0.5), added(0.99)]
}

let asked = 0

async function timeOf({ title, pool, headers }) {
  const path = `${PATH}.json?key=client&chargingAvailability=cold-${asked++}`
  const sentAt = performance.now()
  const { statusCode, body } = await pool.request({ method: 'GET', path, headers })
  await body.dump()
  if (statusCode !== 200) throw new Error(`${title} answered a miss with ${statusCode}`)
  return performance.now() - sentAt
}
