/**
 * Requests lost by a rolling restart: two replicas with the image's settings behind HAProxy and nginx, with the
 * configurations of examples/. While requests arrive at a steady rate, each replica in turn gets SIGTERM, exits, is
 * started again, and is ready before the next one follows. Beside it nginx with its default of max_fails, and both
 * balancers with a DRAIN_DELAY of 0.
 *
 * Usage: npm run build && node bench/rolling-restart.mjs
 * RATE is the number of requests a second, REQUESTS the number of all.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { sendTo } from './lib/open-loop.mjs'
import { endWithUs, freePort, programPath } from './lib/process.mjs'

const RATE = Number(process.env.RATE ?? 500)
const REQUESTS = Number(process.env.REQUESTS ?? 20_000)
const STATIONS = 50
/** From the start of the load to the first restart, and between the two. */
const PAUSE_MS = 3_000
const LIMIT_MS = 60_000

const root = new URL('../', import.meta.url)
const example = (name) => readFileSync(new URL(`examples/${name}`, root), 'utf8')

const CASES = [
  { name: 'HAProxy', start: startHaproxy, drainDelay: '2s' },
  { name: 'nginx', start: startNginx, drainDelay: '2s' },
  { name: 'HAProxy', start: startHaproxy, drainDelay: '0' },
  { name: 'nginx', start: startNginx, drainDelay: '0' },
  {
    name: 'nginx, max_fails=1',
    start: (replicas) => startNginx(replicas, (text) => text.replaceAll(' max_fails=0', '')),
    drainDelay: '2s',
  },
]

function run(command, args, env = {}) {
  const stdio = ['ignore', 'ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore']
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio })
  endWithUs(child)
  return child
}

async function untilOk(url, isUp = ({ ok }) => ok) {
  const deadline = performance.now() + LIMIT_MS
  for (;;) {
    const isOk = await fetch(url).then(isUp, () => false)
    if (isOk) return
    if (performance.now() > deadline) throw new Error(`${url} does not answer`)
    await wait(20)
  }
}

/** A replica that can be restarted on its ports. */
async function startReplica(simulator, drainDelay) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const env = {
    NODE_ENV: 'production',
    TOMTOM_API_KEY: 'demo-key-not-a-secret',
    TOMTOM_BASE_URL: simulator,
    HOST: '127.0.0.1',
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
    DRAIN_DELAY: drainDelay,
    UPSTREAM_MAX_QPS: '0', // a replica without answers must not be limited: that is not what is measured
  }
  const ready = `http://127.0.0.1:${adminPort}/readyz`
  const start = async () => {
    const child = run(process.execPath, [new URL('dist/main.js', root).pathname], env)
    await untilOk(ready)
    return child
  }
  let child = await start()
  const stop = async () => {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    const [code] = await exited
    if (code !== 0) throw new Error(`a replica exited with ${code}`)
  }
  const restart = async () => {
    await stop()
    child = await start()
  }
  return { port, adminPort, stop, restart }
}

async function startBalancer(command, args, port) {
  const child = run(command, args)
  await untilOk(`http://127.0.0.1:${port}/healthz`)
  return { port, stop: () => child.kill('SIGTERM') }
}

async function startNginx(replicas, change = (text) => text) {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'rolling-'))
  const config = change(example('nginx/nginx.conf'))
    .replace('127.0.0.1:8001', `127.0.0.1:${replicas[0].port}`)
    .replace('127.0.0.1:8002', `127.0.0.1:${replicas[1].port}`)
    .replace('listen 8443', `listen 127.0.0.1:${port}`)
    .replace('access_log /dev/stdout without_query', 'access_log off')
    .replace('/tmp/nginx-ev-availability.pid', 'nginx.pid')
  writeFileSync(join(folder, 'nginx.conf'), config)
  const args = ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', 'daemon off; master_process off;']
  return startBalancer(programPath('nginx'), args, port)
}

async function startHaproxy(replicas) {
  const port = await freePort()
  const file = join(mkdtempSync(join(tmpdir(), 'rolling-')), 'haproxy.cfg')
  const config = example('haproxy/haproxy.cfg')
    .replace('127.0.0.1:8001 port 9001', `127.0.0.1:${replicas[0].port} port ${replicas[0].adminPort}`)
    .replace('127.0.0.1:8002 port 9002', `127.0.0.1:${replicas[1].port} port ${replicas[1].adminPort}`)
    .replace('bind :8443', `bind 127.0.0.1:${port}`)
  writeFileSync(file, config)
  return startBalancer(programPath('haproxy'), ['-db', '-q', '-f', file], port)
}

async function measure({ name, start, drainDelay }, simulator) {
  const replicas = [await startReplica(simulator, drainDelay), await startReplica(simulator, drainDelay)]
  const balancer = await start(replicas)
  const requests = Array.from({ length: REQUESTS }, (_, i) => ({
    at: (i * 1_000) / RATE,
    target: `/search/2/chargingAvailability.json?chargingAvailability=station-${i % STATIONS}`,
  }))
  const startedAt = performance.now()
  const restarts = (async () => {
    for (const replica of replicas) {
      await wait(PAUSE_MS)
      await replica.restart()
    }
    return performance.now() - startedAt
  })()
  const [answers] = await sendTo([balancer.port], requests)
  const restartedMs = await restarts
  balancer.stop()
  for (const replica of replicas) await replica.stop()
  const lost = answers.filter(({ status }) => status !== 200)
  const codes = [...new Set(lost.map(({ status }) => status))]
  const longest = Math.max(...answers.map(({ ms }) => ms))
  const isCovered = restartedMs < (REQUESTS * 1_000) / RATE
  const countOf = (code) => lost.filter(({ status }) => status === code).length
  const detail = codes.map((code) => `${code || 'broken'}: ${countOf(code)}`).join(', ')
  const cells = [name, drainDelay, answers.length, lost.length, detail || '–', `${Math.round(longest)} ms`]
  console.log(`| ${cells.join(' | ')} |${isCovered ? '' : ' the load ended before the restarts'}`)
}

const simulatorPort = await freePort()
const simulator = `http://127.0.0.1:${simulatorPort}`
const upstream = run(process.execPath, [new URL('dist/simulator/main.js', root).pathname], {
  SIM_PORT: String(simulatorPort),
  SIM_LATENCY: '50',
})
await untilOk(simulator, () => true)

console.log('| balancer | `DRAIN_DELAY` | requests | lost | by status | slowest |')
console.log('| --- | --- | --- | --- | --- | --- |')
for (const one of CASES) await measure(one, simulator)
upstream.kill('SIGTERM')
