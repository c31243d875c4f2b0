/**
 * The most calls that reach upstream within a second: three replicas on one redis-server under bursts of misses, while
 * a replica or Redis is stopped (SIGSTOP) and goes on again and again. Times are those of upstream.
 *
 * Usage: npm run build && node bench/send-limit.mjs
 * LIMITS are values of UPSTREAM_MAX_QPS, SECONDS the time for each, DISTURB is what is stopped: all, replicas, redis or
 * nothing. As root, upstream gets real-time priority, so that
 * it notes arrivals on time. Ends with 1 if a second had more calls than the limit.
 */
import { spawn } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import { userInfo } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { endWithUs, freePort } from './lib/process.mjs'

const LIMITS = (process.env.LIMITS ?? '5,50').split(',').map(Number)
const DISTURB = process.env.DISTURB ?? 'all'
const SECONDS = Number(process.env.SECONDS ?? 60)
const REPLICAS = 3
const WINDOW_MS = 1_000
const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url))
const isRoot = userInfo().uid === 0

function run(command, args, env = {}) {
  const stdio = ['ignore', 'ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore']
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio })
  endWithUs(child)
  return child
}

async function untilOk(url) {
  for (let tries = 0; tries < 400; tries++) {
    if (
      await fetch(url).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return
    await wait(50)
  }
  throw new Error(`${url} does not answer`)
}

async function startUpstream() {
  const port = await freePort()
  const node = [process.execPath, pathOf('lib/arrivals.mjs')]
  const [command, ...args] = isRoot ? ['chrt', '-f', '10', ...node] : node
  const child = run(command, args, { PORT: String(port) })
  const url = `http://127.0.0.1:${port}`
  await untilOk(`${url}/arrivals`)
  return { url, child, measured: async () => (await fetch(`${url}/arrivals`)).json() }
}

async function startReplica(upstream, redisPort, limit) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const child = run(process.execPath, [pathOf('../dist/main.js')], {
    TOMTOM_API_KEY: 'demo-key-not-a-secret',
    TOMTOM_BASE_URL: upstream.url,
    HOST: '127.0.0.1',
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
    REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    UPSTREAM_MAX_QPS: String(limit),
    UPSTREAM_LIMIT_SHARE: `1/${REPLICAS}`,
    UPSTREAM_QUEUE_TIMEOUT: '3s',
    UPSTREAM_QUOTA: '1000000/day',
  })
  await untilOk(`http://127.0.0.1:${adminPort}/readyz`)
  return { child, url: `http://127.0.0.1:${port}` }
}

let asked = 0

/** Bursts of misses at random moments, until the signal aborts. */
async function burst({ url }, limit, signal) {
  while (!signal.aborted) {
    const count = 1 + Math.floor(Math.random() * limit * 2)
    for (let i = 0; i < count; i++) {
      const path = `/search/2/chargingAvailability.json?chargingAvailability=cold-${asked++}`
      fetch(url + path, { signal }).then(
        (answer) => answer.text(),
        () => {},
      )
    }
    await wait(200 + Math.random() * 1_500)
  }
}

/** Stops one process after the other for a random time: short, as long as a command's deadline, longer than a second. */
async function disturb(processes, signal) {
  if (processes.length === 0) return
  while (!signal.aborted) {
    const one = processes[Math.floor(Math.random() * processes.length)]
    one.kill('SIGSTOP')
    await wait([20, 60, 150, 500, 1_100, 2_500][Math.floor(Math.random() * 6)])
    one.kill('SIGCONT')
    await wait(Math.random() * 1_500)
  }
}

function mostWithin(times, windowMs) {
  let most = 0
  for (let from = 0, to = 0; to < times.length; to++) {
    while (times[to] - times[from] >= windowMs) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}

/** Windows that begin with a call and have more than the limit. */
function windowsOver(times, limit) {
  return times.filter((from, i) => times[i + limit] !== undefined && times[i + limit] - from < WINDOW_MS)
}

async function measure(limit) {
  const upstream = await startUpstream()
  const redisPort = await freePort()
  const redis = run('redis-server', [
    '--port',
    String(redisPort),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ])
  const replicas = []
  for (let i = 0; i < REPLICAS; i++) replicas.push(await startReplica(upstream, redisPort, limit))
  const end = new AbortController()
  setMaxListeners(0, end.signal)
  const running = replicas.map((replica) => burst(replica, limit, end.signal))
  const children = replicas.map(({ child }) => child)
  const disturbed = {
    nothing: [],
    replicas: children,
    redis: [redis],
    all: [...children, redis, redis, redis],
  }
  running.push(disturb(disturbed[DISTURB], end.signal))
  await wait(SECONDS * 1_000)
  end.abort()
  await Promise.all(running)
  const { arrivals, longestDelayMs } = await upstream.measured()
  for (const { child } of replicas) child.kill('SIGKILL')
  for (const { child } of [upstream, { child: redis }]) child.kill('SIGKILL')
  return { limit, arrivals, longestDelayMs }
}

for (const limit of LIMITS) {
  const { arrivals, longestDelayMs } = await measure(limit)
  const over = windowsOver(arrivals, limit)
  const most = mostWithin(arrivals, WINDOW_MS)
  const delay = `upstream's longest delay ${longestDelayMs.toFixed(1)} ms`
  console.log(
    `${limit}/s: ${arrivals.length} calls in ${SECONDS} s, at most ${most} within a second, ${over.length} windows over the limit, ${delay}`,
  )
  for (const from of over.slice(0, 10)) {
    const times = arrivals.filter((time) => time >= from && time < from + WINDOW_MS)
    console.log(`  ${times.map((time) => (time - from).toFixed(1)).join(' ')}`)
  }
  if (most > limit) process.exitCode = 1
}
process.exit()
