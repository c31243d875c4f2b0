/**
 * The service in front of an upstream in this process, so that the moment of an answer can be compared with the moment at
 * which its event arrives. Stations have a member `change`, a number that the benchmark sets.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { freePort, startServer } from './process.mjs'
import { stationBody } from './stations.mjs'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

export async function startService(settings) {
  const upstream = await startUpstream()
  const [port, adminPort] = [await freePort(), await freePort()]
  const env = {
    TOMTOM_API_KEY: 'benchmark-key-0000',
    TOMTOM_BASE_URL: upstream.url,
    HOST: '127.0.0.1',
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
    LOG_LEVEL: 'warn',
    UPSTREAM_MAX_QPS: '0',
    ...settings,
  }
  const server = await startServer(process.execPath, [MAIN], {
    env,
    probe: `http://127.0.0.1:${adminPort}/readyz`,
  })
  return {
    port,
    pid: server.pid,
    child: server.child,
    upstream,
    residentMB: () => residentMB(server.pid),
    async stop() {
      await server.stop()
      upstream.stop()
    },
  }
}

async function startUpstream() {
  /** Calls by id, and by number of change the moment at which it was first answered. */
  const [calls, answeredAt] = [new Map(), new Map()]
  /** The number of the last change by id. */
  const changes = new Map()
  const server = createServer((incoming, response) => {
    const id = new URL(incoming.url, 'http://upstream').searchParams.get('chargingAvailability')
    calls.set(id, (calls.get(id) ?? 0) + 1)
    const change = changes.get(id) ?? 0
    response.setHeader('content-type', 'application/json')
    response.end(`${stationBody(id).slice(0, -1)},"change":${change}}`)
    if (!answeredAt.has(change)) answeredAt.set(change, performance.now())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    answeredAt,
    callCount: () => [...calls.values()].reduce((sum, count) => sum + count, 0),
    setChange: (id, number) => changes.set(id, number),
    stop() {
      server.closeAllConnections()
      server.close()
    },
  }
}

function residentMB(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)[1]) / 1024
}
