/**
 * What a scrape every second costs those who are served meanwhile: the same process under full load, with and without
 * scrapes in turn.
 */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { measure, warm, wrkScript } from '../lib/load.mjs'
import { freePort } from '../lib/process.mjs'
import { plainTargets } from '../lib/stations.mjs'
import { spread, table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { PROXY_FILE, proxyEnv, startNode } from '../peers/index.mjs'

const WATCH = fileURLToPath(new URL('../lib/watch.mjs', import.meta.url))
/** Fewer than those that measure throughput: a queue of 64 would hide what the server does. */
const CONNECTIONS = 8

export async function pauses({ quick, rounds, seconds, say }) {
  const [times, length] = [rounds ?? (quick ? 1 : 4), seconds ?? (quick ? 2 : 5)]
  const upstream = await startUpstream()
  const adminPort = await freePort()
  const about = { upstreamPort: upstream.port, ttlSeconds: 7_200, staleSeconds: 7_200 }
  const env = proxyEnv(about, { ADMIN_PORT: String(adminPort) })
  const server = await startNode(PROXY_FILE, env, { flags: ['--import', WATCH], ipc: true })
  const targets = plainTargets(5_000)
  const load = {
    pid: server.pid,
    port: server.port,
    script: wrkScript(targets.map((target) => ({ target }))),
    connections: CONNECTIONS,
  }
  await warm({ ...load, requestCount: targets.length, leastSeconds: 2 })
  const seen = { 'no scrape': [], 'a scrape every second': [], 'no scrape again (A/A)': [] }
  for (let round = 0; round < times; round++) {
    say(`pauses: round ${round + 1} of ${times}`)
    for (const [name, rows] of Object.entries(seen)) {
      const scraped = name.startsWith('a scrape') ? scrapeEverySecond(adminPort) : null
      server.child.send('reset')
      const { p99Ms } = await measure({ ...load, seconds: length })
      server.child.send('read')
      const [inside] = await once(server.child, 'message')
      rows.push({ p99Ms, ...inside, ...(scraped && { scrapeMs: await scraped.stop() }) })
    }
  }
  await server.stop()
  await upstream.stop()
  const figures = ['p99Ms', 'loopP99Ms', 'loopMaxMs', 'longestPauseMs', 'scrapeMs']
  const cell = (rows, figure) => {
    const values = rows.map((row) => row[figure]).filter((value) => value !== undefined)
    return spread(values)
  }
  const head = [
    'hits',
    'p99 ms',
    'event loop p99',
    'event loop longest',
    'longest collection',
    'a scrape takes',
  ]
  return [
    `${times} rounds of ${length} s, ${CONNECTIONS} connections at full speed; ms, median (lowest–highest).`,
    table(
      head,
      Object.entries(seen).map(([name, rows]) => [name, ...figures.map((figure) => cell(rows, figure))]),
    ),
  ].join('\n\n')
}

/** Stopping it gives the longest that a scrape took, in ms. */
function scrapeEverySecond(adminPort) {
  let longest = 0
  let last = Promise.resolve()
  const scrape = async () => {
    const startedAt = performance.now()
    const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
    await answer.text()
    longest = Math.max(longest, performance.now() - startedAt)
  }
  const timer = setInterval(() => {
    last = scrape()
  }, 1_000)
  return {
    async stop() {
      clearInterval(timer)
      await last
      return longest
    },
  }
}
