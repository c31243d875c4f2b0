/**
 * What the status page costs: the work for each request to be in its history, the memory of all that it remembers, and
 * the server's time for the poll that an open page makes every second.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { measure, warm, wrkScript } from '../lib/load.mjs'
import { cpuSeconds, endWithUs, freePort, SERVER_CORE } from '../lib/process.mjs'
import { plainTargets } from '../lib/stations.mjs'
import { table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { PROXY_FILE, proxyEnv, startNode } from '../peers/index.mjs'

const run = promisify(execFile)
const REMEMBER = fileURLToPath(new URL('../lib/remember.mjs', import.meta.url))
const QUICK_POLLS = 1_000
const POLLS = 4_000

export async function page({ quick, say }) {
  say('page: what it remembers')
  const { nsPerRequest, bytes } = await remembered()
  say('page: its polls')
  const { usPerRequest, whole, poll, bodyBytes } = await polled(quick ? QUICK_POLLS : POLLS)
  const percent = (part, of) => `${((100 * part) / of).toFixed(2)} %`
  const rows = table(
    ['the status page', '', 'of the server’s core'],
    [
      [
        'history, for each request that is answered',
        `${nsPerRequest.toFixed(0)} ns`,
        `${percent(nsPerRequest / 1_000, usPerRequest)} of the ${usPerRequest.toFixed(0)} µs that a hit takes`,
      ],
      [
        'an hour of history, a period’s burn-down, 1,200 failures with long texts',
        `${(bytes / 1e6).toFixed(2)} MB`,
        '',
      ],
      [
        'a poll, every second for each page that is open',
        `${poll.toFixed(0)} µs, ${bodyBytes} bytes`,
        percent(poll, 1e6),
      ],
      ['a page’s first, with all the history there is', `${whole.toFixed(0)} µs`, ''],
    ],
  )
  return `All histories are full.\n\n${rows}`
}

async function remembered() {
  const command = ['-c', SERVER_CORE, process.execPath, '--expose-gc', REMEMBER]
  const child = run('taskset', command)
  endWithUs(child.child)
  return JSON.parse((await child).stdout)
}

async function polled(polls) {
  const upstream = await startUpstream()
  const adminPort = await freePort()
  const about = { upstreamPort: upstream.port, ttlSeconds: 7_200, staleSeconds: 7_200 }
  const settings = { ADMIN_PORT: String(adminPort), UPSTREAM_QUOTA: '100000/day' }
  const server = await startNode(PROXY_FILE, proxyEnv(about, settings))
  const targets = plainTargets(1_000).map((target) => ({ target }))
  const load = { pid: server.pid, port: server.port, script: wrkScript(targets) }
  await warm({ ...load, requestCount: targets.length, leastSeconds: 3 })
  const { perCpuSecond } = await measure({ ...load, seconds: 3 })

  const status = `http://127.0.0.1:${adminPort}/status`
  const { cursor } = await (await fetch(status)).json()
  const since = `${status}?since=${cursor}`
  await costOf(server.pid, since, polls / 4) // compiled
  const { us: poll, bodyBytes } = await costOf(server.pid, since, polls)
  const { us: whole } = await costOf(server.pid, status, polls)
  await server.stop()
  await upstream.stop()
  return { usPerRequest: 1e6 / perCpuSecond, poll, whole, bodyBytes }
}

/** The server's CPU time for one answer, and its size. */
async function costOf(pid, url, times) {
  const before = cpuSeconds(pid)
  let bodyBytes = 0
  for (let i = 0; i < times; i++) bodyBytes = (await (await fetch(url)).arrayBuffer()).byteLength
  return { us: (1e6 * (cpuSeconds(pid) - before)) / times, bodyBytes }
}
