// Starts the simulator and, in front of it, the proxy, without a key and without network. Needs a build (`npm run demo`
// makes one). PORT and ADMIN_PORT are the proxy's ports, 0 is any free one; every other setting of the proxy and of the
// simulator is taken from the environment too. Clients and short outages of upstream are simulated, so that the status
// page has data; --quiet disables both. LIST_PORT is the port of a page that shows a list of stations live.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stationId, traffic } from './demo-traffic.mjs'

const HOST = '127.0.0.1'
const KEY = 'demo-key-not-a-secret'
const CONNECTOR = 'IEC62196Type2CableAttached'
const START_LIMIT_MS = 30_000
/** Interval of the checks whether npm is still there. */
const PARENT_CHECK_MS = 500
const STOP_LIMIT_MS = 20_000
/** Interval of simulated outages of a few seconds, in ms. */
const HICCUP = '120000'
/** Stations change this many times as often as recorded ones, so that the list shows some changes a minute. */
const CHANGE_SPEED = '20'
/** Low enough for pacing to stretch the TTL if the demo runs all day. */
const QUOTA = '20000/day'

/** The files of the live list, with their types. */
const LIST_FILES = {
  'index.html': 'text/html; charset=utf-8',
  'list.css': 'text/css; charset=utf-8',
  'list.js': 'text/javascript; charset=utf-8',
  'stations.json': 'application/json; charset=utf-8',
}
const LIST_LENGTH = 20

/** EX_USAGE of sysexits.h. */
const EXIT_USAGE = 64
const USAGE = `usage: npm run demo [-- --quiet]
  --quiet  no simulated clients and no simulated outages
`

const options = process.argv.slice(2)
const quiet = options.includes('--quiet')
if (options.some((option) => option !== '--quiet')) {
  process.stderr.write(USAGE)
  process.exit(EXIT_USAGE)
}

/** An error that the user can correct; printed without a stack. */
class DemoError extends Error {}

/** Running processes by name; each removes itself when it exits. */
const children = new Map()
const stopping = new AbortController()

process.on('exit', () => killAll())
// Ctrl-C may arrive twice, from the terminal and from npm; the second one has no further effect.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stopping.abort())
if (process.env.npm_lifecycle_event === 'demo') stopWithParent()
await main()

/** A signal to npm alone ends npm and its shell, and does not arrive here. */
function stopWithParent() {
  const parent = process.ppid
  const check = () => {
    if (process.ppid !== parent) stopping.abort()
  }
  setInterval(check, PARENT_CHECK_MS).unref()
}

async function main() {
  try {
    const died = deferred()
    await Promise.race([run(died), died.promise, once(stopping.signal, 'abort')])
  } catch (error) {
    if (!stopping.signal.aborted) fail(error)
  }
  stopping.abort()
  await stopAll()
}

/** Starts everything, prints the URLs, and never returns. */
async function run(died) {
  const [port, adminPort, listPort] = await freePorts(
    portSetting('PORT', '8080'),
    portSetting('ADMIN_PORT', '8081'),
    portSetting('LIST_PORT', setting('PORT', '8080') === '0' ? '0' : '8082'),
  )
  const simulator = await startSimulator(died)
  const proxy = await startProxy({ port, adminPort, simulator }, died)
  process.stdout.write(
    welcome(
      { proxy, list: await serveList(listPort, proxy), admin: `http://${HOST}:${adminPort}`, simulator },
      await findExample(simulator),
    ),
  )
  if (!quiet) void traffic(proxy, stopping.signal)
  await new Promise(() => {})
}

async function startSimulator(died) {
  const settings = {
    SIM_HOST: HOST,
    SIM_PORT: '0',
    SIM_KEY: KEY,
    SIM_LATENCY: setting('SIM_LATENCY', '40'),
    SIM_CHANGE_SPEED: setting('SIM_CHANGE_SPEED', CHANGE_SPEED),
    SIM_HICCUP: setting('SIM_HICCUP', quiet ? '0' : HICCUP),
  }
  const child = start('simulator', 'simulator/main.js', settings, 'pipe', died)
  const [line] = await once(createInterface(child.stdout), 'line', { signal: stopping.signal })
  return JSON.parse(line).url
}

async function startProxy({ port, adminPort, simulator }, died) {
  const settings = {
    TOMTOM_BASE_URL: simulator,
    TOMTOM_API_KEY: KEY,
    TOMTOM_API_KEY_FILE: '',
    HOST,
    PORT: String(port),
    ADMIN_HOST: HOST,
    ADMIN_PORT: String(adminPort),
    // Simulated errors are on the status page; the terminal stays readable.
    LOG_LEVEL: setting('LOG_LEVEL', quiet ? 'error' : 'fatal'),
    UPSTREAM_QUOTA: setting('UPSTREAM_QUOTA', QUOTA),
  }
  start('proxy', 'main.js', settings, process.stderr, died)
  await ready(`http://${HOST}:${adminPort}/readyz`)
  return `http://${HOST}:${port}`
}

/**
 * A child in its own process group: Ctrl-C reaches the whole group of the terminal, and stopAll() signals the children
 * once and in order.
 */
function start(name, file, settings, stdout, died) {
  const path = fileURLToPath(new URL(`../dist/${file}`, import.meta.url))
  if (!existsSync(path))
    throw new DemoError(`dist/${file} is missing: run \`npm run demo\`, which builds first`)
  const child = spawn(process.execPath, [path], {
    env: { ...process.env, ...settings },
    stdio: ['ignore', stdout, 'inherit'],
    detached: true,
  })
  children.set(name, child)
  child.on('error', (error) => died.reject(new DemoError(`the ${name} did not start: ${error.message}`)))
  child.on('exit', (code, signal) => {
    children.delete(name)
    died.reject(
      new DemoError(
        `the ${name} ended by itself, ${howItEnded(code, signal)}; its output above may show the cause`,
      ),
    )
  })
  return child
}

function howItEnded(code, signal) {
  return signal === null ? `with exit code ${code}` : `killed by ${signal}`
}

async function ready(url) {
  const limit = AbortSignal.any([stopping.signal, AbortSignal.timeout(START_LIMIT_MS)])
  while (!limit.aborted) {
    const response = await fetch(url, { signal: limit }).catch(() => null)
    await response?.body?.cancel()
    if (response?.status === 200) return
    await wait(50)
  }
  throw new DemoError(`the proxy was not ready after ${START_LIMIT_MS / 1000} s (${url})`)
}

/** A station that has the connector at two power levels or more, and a power bound that removes some of its rows. */
async function findExample(simulator) {
  for (let number = 0; ; number++) {
    const id = stationId(number)
    const { connectors } = await fetchStation(simulator, id)
    const rows = connectors.find(({ type }) => type === CONNECTOR)?.availability.perPowerLevel ?? []
    if (rows.length > 1) return { id, minPowerKW: Math.max(...rows.map(({ powerKW }) => powerKW)) }
  }
}

/** Repeats the request until the simulator answers: its settings may make it fail at times. */
async function fetchStation(simulator, id) {
  const url = `${simulator}/search/2/chargingAvailability.json?key=${KEY}&chargingAvailability=${id}`
  for (;;) {
    const response = await fetch(url, { signal: stopping.signal })
    if (response.ok) return response.json()
    await response.body?.cancel()
    await wait(200, null, { signal: stopping.signal })
  }
}

/** Serves examples/live-list with the demo's stations. */
async function serveList(port, proxy) {
  const stations = Array.from({ length: LIST_LENGTH }, (_, i) => ({
    id: stationId(i),
    name: `Station ${i + 1}`,
  }))
  const answer = async ({ url }, response) => {
    const name = url === '/' ? 'index.html' : url.slice(1)
    const type = LIST_FILES[name]
    if (type === undefined) return response.writeHead(404).end()
    const file = new URL(`../examples/live-list/${name}`, import.meta.url)
    const body = name === 'stations.json' ? JSON.stringify({ proxy, stations }) : await readFile(file)
    return response.writeHead(200, { 'content-type': type }).end(body)
  }
  const server = createHttpServer((incoming, response) => void answer(incoming, response))
  server.listen(port, HOST)
  await once(server, 'listening')
  stopping.signal.addEventListener('abort', () => {
    server.close()
    server.closeAllConnections()
  })
  return `http://${HOST}:${port}/`
}

function welcome({ proxy, list, admin, simulator }, { id, minPowerKW }) {
  const json = `${proxy}/search/2/chargingAvailability.json?chargingAvailability=${id}`
  const xml = json.replace('.json', '.xml')
  return `
  live list  ${list}
  status     ${admin}/
  proxy      ${proxy}
  metrics    ${admin}/metrics
  ready      ${admin}/readyz
  simulator  ${simulator}  (key: ${KEY})

A station in JSON, in XML, and only what a car can use there:

  curl '${json}'
  curl '${xml}'
  curl '${json}&connectorSet=${CONNECTOR}&minPowerKW=${minPowerKW}'

Ctrl-C stops everything.
`
}

/**
 * The ports, with 0 replaced by free ones. All are bound until the last is known, so that they differ.
 * @throws DemoError for a port that is in use
 */
async function freePorts(...wanted) {
  const servers = []
  try {
    for (const { name, port } of wanted) servers.push(await bind(name, port))
    return servers.map((server) => server.address().port)
  } finally {
    for (const server of servers) server.close()
  }
}

async function bind(name, port) {
  const server = createServer().listen(port, HOST)
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw new DemoError(`port ${port} cannot be used: ${error.message}`)
    throw new DemoError(
      `port ${port} is already in use: stop what listens there, or choose another with ${name}=…`,
    )
  }
}

function portSetting(name, preset) {
  const text = setting(name, preset)
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new DemoError(`${name}: expected a port, got ${JSON.stringify(text)}`)
  return { name, port }
}

/** An empty variable counts as unset, as in the service. */
function setting(name, preset) {
  return process.env[name] || preset
}

function fail(error) {
  process.exitCode = 1
  process.stderr.write(`demo: ${error instanceof DemoError ? error.message : error.stack}\n`)
}

/** The proxy first: it needs its upstream for calls in flight. */
async function stopAll() {
  for (const name of ['proxy', 'simulator']) {
    const child = children.get(name)
    if (child === undefined) continue
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const limit = new AbortController()
    await Promise.race([ended, wait(STOP_LIMIT_MS, null, { signal: limit.signal }).catch(() => {})])
    limit.abort()
    if (children.has(name)) fail(new DemoError(`the ${name} did not stop within ${STOP_LIMIT_MS / 1000} s`))
  }
  killAll()
}

function killAll() {
  for (const child of children.values()) child.kill('SIGKILL')
}

function deferred() {
  let reject
  const promise = new Promise((_, rejectPromise) => {
    reject = rejectPromise
  })
  promise.catch(() => {})
  return { promise, reject }
}
