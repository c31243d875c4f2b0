/**
 * What a miss adds to upstream's own time: one request at a time, each station asked for once, the direct call and each
 * way through a cache in turn.
 */
import { Pool } from 'undici'
import { PATH } from '../lib/stations.mjs'
import { median, quantile, table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { peers } from '../peers/index.mjs'

const LATENCY_MS = 80
const WARM_ROUNDS = 10

export async function misses({ names, quick, rounds, say }) {
  const times = rounds === null ? (quick ? 30 : 200) : rounds * 50
  const upstream = await startUpstream({ latencyMs: LATENCY_MS })
  const about = { upstreamPort: upstream.port, ttlSeconds: 600, staleSeconds: 600 }
  const ways = [{ title: 'upstream itself', pool: poolOf(upstream.port), ms: [] }]
  ways.push({ title: 'upstream itself again (A/A)', pool: poolOf(upstream.port), ms: [] })
  const servers = []
  for (const name of names.filter((name) => peers[name].caches && name !== 'nginx-stored')) {
    const server = await peers[name].start(about)
    servers.push(server)
    ways.push({ title: peers[name].title, pool: poolOf(server.port), ms: [] })
  }
  say(`misses: ${times} for each of ${ways.length} ways`)
  for (let i = -WARM_ROUNDS; i < times; i++) {
    for (const [at, { pool, ms }] of ways.entries()) {
      const took = await timeOf(pool, `${PATH}.json?key=client&chargingAvailability=cold-${at}-${i}`)
      if (i >= 0) ms.push(took)
    }
  }
  for (const { pool } of ways) await pool.close()
  for (const server of servers) await server.stop()
  await upstream.stop()
  const [direct] = ways
  const rows = ways.map(({ title, ms }) => [
    title,
    median(ms).toFixed(2),
    ms === direct.ms ? '' : (median(ms) - median(direct.ms)).toFixed(2),
    quantile(ms, 0.99).toFixed(2),
  ])
  const setting = `Upstream takes ${LATENCY_MS} ms; ${times} misses each, one at a time and in turn.`
  return [setting, table(['', 'p50 ms', 'added at p50', 'p99 ms'], rows)].join('\n\n')
}

const poolOf = (port) => new Pool(`http://127.0.0.1:${port}`, { connections: 1 })

async function timeOf(pool, path) {
  const sentAt = performance.now()
  const { statusCode, body } = await pool.request({ method: 'GET', path })
  await body.dump()
  if (statusCode !== 200) throw new Error(`a miss was answered with ${statusCode}`)
  return performance.now() - sentAt
}
