/**
 * What a restart costs, with the state in memory alone, in a directory (STATE_DIR) and in Redis: 300 stations in use,
 * 5 calls a second, a restart by SIGTERM under traffic. And a crash loop: two processes that are killed every few
 * seconds, and the calls that they make of a quota.
 *
 * Usage: npm run bench:restart
 * WARM, SECONDS: traffic before and after the restart, in seconds; RATE: requests a second; LIVES: crashes
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort, programPath, startServer } from './lib/process.mjs'
import { randomNumbers, stationId } from './lib/stations.mjs'
import { startUpstream } from './lib/upstream-process.mjs'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const STATIONS = 300
const RATE = Number(process.env.RATE ?? 50)
const WARM_S = Number(process.env.WARM ?? 90)
const SECONDS = Number(process.env.SECONDS ?? 60)
const LIVES = Number(process.env.LIVES ?? 6)
const LIFE_MS = 3_000
const QUOTA = 1_000

/** The settings that make a service keep its state in one of three ways. Null if Redis is not installed. */
async function openState(kind) {
  if (kind === 'memory') return { env: {}, close: async () => {} }
  const dir = mkdtempSync(join(tmpdir(), 'evproxy-bench-'))
  const remove = () => rmSync(dir, { recursive: true, force: true })
  if (kind === 'STATE_DIR') return { env: { STATE_DIR: join(dir, 'state') }, close: async () => remove() }
  const program = programPath('redis-server')
  if (program === null) return null
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '']
  const probe = `http://127.0.0.1:${port}` // Redis ends a connection that speaks HTTP, which the wait tolerates
  const server = startServer(program, args, { probe }).catch(() => {})
  await wait(1_000)
  return {
    env: { REDIS_URL: `redis://127.0.0.1:${port}` },
    close: async () => {
      const { execFileSync } = await import('node:child_process')
      execFileSync('redis-cli', ['-p', String(port), 'shutdown', 'nosave'], { stdio: 'ignore' })
      await server
      remove()
    },
  }
}

async function startService(upstream, env) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const server = await startServer(process.execPath, [MAIN], {
    env: {
      TOMTOM_API_KEY: 'bench-key-0123456789',
      TOMTOM_BASE_URL: upstream.url,
      HOST: '127.0.0.1',
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      LOG_LEVEL: 'silent',
      ...env,
    },
    probe: `http://127.0.0.1:${adminPort}/readyz`,
  })
  const url = `http://127.0.0.1:${port}/search/2/chargingAvailability.json?chargingAvailability=`
  return { ...server, url }
}

/** Requests at a constant rate for stations at random; what became of them, by second. */
async function traffic(service, seconds, seed) {
  const random = randomNumbers(seed)
  const results = Array.from({ length: seconds }, () => ({ requests: 0, errors: 0, hits: 0 }))
  const startedAt = performance.now()
  const pending = []
  for (let i = 0; i < seconds * RATE; i++) {
    const second = Math.floor(i / RATE)
    await wait(Math.max(0, startedAt + (i * 1_000) / RATE - performance.now()))
    const id = stationId(Math.floor(random() * STATIONS))
    const ask = async () => {
      results[second].requests++
      try {
        const answer = await fetch(service.url + id)
        await answer.arrayBuffer()
        if (answer.status !== 200) results[second].errors++
        else if (answer.headers.get('cache-status').includes('hit')) results[second].hits++
      } catch {
        results[second].errors++
      }
    }
    pending.push(ask())
  }
  await Promise.all(pending)
  return results
}

const sum = (results, name) => results.reduce((total, result) => total + result[name], 0)
const ratio = (results) => sum(results, 'hits') / sum(results, 'requests')
const percent = (share) => `${(share * 100).toFixed(1)} %`

async function restart(kind) {
  const state = await openState(kind)
  if (state === null) return null
  const upstream = await startUpstream({ latencyMs: 60 })
  const env = { ...state.env, UPSTREAM_MAX_QPS: '5', CACHE_TTL: '60s' }
  const first = await startService(upstream, env)
  const before = ratio((await traffic(first, WARM_S, 1)).slice(-10))
  await first.stop()
  const { calls } = await upstream.counts()
  const second = await startService(upstream, env)
  const after = await traffic(second, SECONDS, 2)
  const made = (await upstream.counts()).calls - calls
  const recovered = after.findIndex((_, i) => ratio(after.slice(i, i + 3)) >= before * 0.98)
  await second.stop()
  await upstream.stop()
  await state.close()
  const errors = sum(after, 'errors') / sum(after, 'requests')
  return [
    kind,
    percent(errors),
    String(made),
    percent(before),
    recovered < 0 ? `> ${SECONDS}` : String(recovered),
  ]
}

/** Calls that two processes make of one quota while both are killed again and again. */
async function crashLoop(kind) {
  const state = await openState(kind)
  if (state === null) return null
  const upstream = await startUpstream({ latencyMs: 5 })
  const env = {
    ...state.env,
    UPSTREAM_MAX_QPS: '0',
    UPSTREAM_QUOTA: `${QUOTA}/month`,
    CACHE_TTL: '1s',
    CACHE_MAX_TTL: '1s',
  }
  for (let life = 0; life < LIVES; life++) {
    const services = await Promise.all([startService(upstream, env), startService(upstream, env)])
    const load = { isOver: false }
    let id = life * 1_000_000
    const ask = async ({ url }) => {
      while (!load.isOver)
        await fetch(url + stationId(id++))
          .then((answer) => answer.arrayBuffer())
          .catch(() => {})
    }
    const asking = services.flatMap((service) => [ask(service), ask(service)])
    await wait(LIFE_MS)
    for (const { child } of services) child.kill('SIGKILL')
    load.isOver = true
    await Promise.all(asking)
  }
  const { calls } = await upstream.counts()
  await upstream.stop()
  await state.close()
  return [kind, String(calls), (calls / QUOTA).toFixed(2)]
}

function print(header, rows) {
  console.log(`\n| ${header.join(' | ')} |\n|${header.map(() => ' --- |').join('')}`)
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
}

const KINDS = ['memory', 'STATE_DIR', 'Redis']
const restarts = []
const loops = []
for (const kind of KINDS) {
  const row = await restart(kind)
  if (row !== null) restarts.push(row)
}
print(['state', 'errors after the restart', 'calls', 'hit ratio before', 'seconds to that ratio'], restarts)
for (const kind of KINDS) {
  const row = await crashLoop(kind)
  if (row !== null) loops.push(row)
}
print(['state', `calls of a quota of ${QUOTA}`, 'times the quota'], loops)
process.exit(0)
