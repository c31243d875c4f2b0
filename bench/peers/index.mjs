/**
 * Everything that is measured side by side, by name. Each says what it lacks on this machine, and starts as a process
 * on a port of the system's choice in front of the upstream given.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { freePort, programPath, startServer } from '../lib/process.mjs'
import { PATH, stationId } from '../lib/stations.mjs'
import { startNginx } from './nginx.mjs'
import { startVarnish } from './varnish.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

/** A request that only a server that works answers with 200. */
export const probe = (port) => `http://127.0.0.1:${port}${PATH}.json?chargingAvailability=${stationId(0)}`

const needsProgram = (name, debianPackage) =>
  programPath(name) === null ? `${name} is missing: apt-get install ${debianPackage}` : null
const needsPackage = (name) =>
  existsSync(here(`node_modules/${name}`)) ? null : `${name} is missing: npm ci --prefix bench/peers`
const nothing = () => null

/** Starts a file with Node; `flags` go to Node itself. */
export async function startNode(file, env, { flags = [], ipc = false, ready = probe } = {}) {
  const port = await freePort()
  const settings = { env: { ...env, PORT: String(port) }, probe: ready(port), ipc }
  const server = await startServer(process.execPath, [...flags, file], settings)
  return { ...server, port }
}

/** The environment of the proxy before this upstream; `settings` override it. */
export function proxyEnv({ upstreamPort, ttlSeconds, staleSeconds }, settings = {}) {
  return {
    TOMTOM_API_KEY: 'benchmark-key-0000',
    TOMTOM_BASE_URL: `http://127.0.0.1:${upstreamPort}`,
    HOST: '127.0.0.1',
    ADMIN_PORT: '0',
    CACHE_TTL: `${ttlSeconds}s`,
    CACHE_MAX_TTL: '24h',
    CACHE_STALE_WHILE_REVALIDATE: `${staleSeconds}s`,
    UPSTREAM_MAX_QPS: '0',
    LOG_LEVEL: 'fatal',
    ...settings,
  }
}

const peerEnv = ({ upstreamPort, ttlSeconds, staleSeconds }) => ({
  UPSTREAM: `http://127.0.0.1:${upstreamPort}`,
  TTL_SECONDS: String(ttlSeconds),
  STALE_SECONDS: String(staleSeconds),
})

/** The built service; PROXY may name another build's main.js to compare. */
export const PROXY_FILE = process.env.PROXY ?? here('../../dist/main.js')

const raw = () => startNode(here('raw.mjs'), {})
const bareFastify = () => startNode(here('fastify.mjs'), {})

/** `caches` are those that stand in front of an upstream; the others send a fixed answer. */
export const peers = {
  raw: { title: 'raw `node:http`', caches: false, lacks: nothing, start: raw },
  proxy: {
    title: '**the proxy**',
    caches: true,
    lacks: nothing,
    start: (about) => startNode(PROXY_FILE, proxyEnv(about, about.settings)),
  },
  'raw-again': { title: 'raw again (A/A)', caches: false, lacks: nothing, start: raw },
  fastify: {
    title: 'bare Fastify',
    caches: false,
    lacks: nothing,
    start: bareFastify,
  },
  'fastify-again': { title: 'bare Fastify again (A/A)', caches: false, lacks: nothing, start: bareFastify },
  nginx: {
    title: 'nginx, gzip on the fly',
    caches: true,
    lacks: () => needsProgram('nginx', 'nginx-light'),
    start: (about) => startNginx('on the fly', { ...about, probe }),
  },
  'nginx-stored': {
    title: 'nginx, gzip stored',
    caches: true,
    lacks: () => needsProgram('nginx', 'nginx-light'),
    start: (about) => startNginx('stored', { ...about, probe }),
  },
  varnish: {
    title: 'Varnish',
    caches: true,
    lacks: () => needsProgram('varnishd', 'varnish'),
    start: (about) => startVarnish({ ...about, probe }),
  },
  apicache: {
    title: 'express + apicache',
    caches: true,
    lacks: () => needsPackage('apicache'),
    start: (about) => startNode(here('apicache.mjs'), peerEnv(about)),
  },
  'http-proxy': {
    title: '@fastify/http-proxy + undici cache',
    caches: true,
    lacks: () => needsPackage('@fastify/http-proxy'),
    start: (about) => startNode(here('http-proxy.mjs'), peerEnv(about)),
  },
}

/** The names of these that can run here; what cannot is said once, and left out. */
export function present(names, say) {
  return names.filter((name) => {
    const lack = peers[name].lacks()
    if (lack !== null) say(`${name} is left out: ${lack}`)
    return lack === null
  })
}
