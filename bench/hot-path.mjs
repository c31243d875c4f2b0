/**
 * Cached answers against Node's own server: requests per server CPU second, as ratios. Rounds are interleaved, every
 * round starts new processes, and raw-again is the A/A pair: a difference smaller than its own is noise.
 * Usage: npm run bench:hot-path [-- rounds seconds]
 */
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { measure, wrkScript } from './lib/load.mjs'
import { freePort, startServer } from './lib/process.mjs'
import { filteredTargets, plainTargets } from './lib/stations.mjs'

const rounds = Number(process.argv[2] ?? 5)
const seconds = Number(process.argv[3] ?? 4)
const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const only = process.env.ONLY?.split(',')

const upstreamPort = await freePort()
const upstream = await startServer('node', [here('lib/upstream.mjs')], {
  env: { PORT: String(upstreamPort) },
  probe: `http://127.0.0.1:${upstreamPort}/?chargingAvailability=x`,
})

const loads = {
  hits: wrkScript('hits', plainTargets(5_000)),
  filters: wrkScript('filters', filteredTargets(5_000)),
  gzip: wrkScript('gzip', plainTargets(5_000), { 'Accept-Encoding': 'gzip' }),
  'not modified': wrkScript('not-modified', plainTargets(5_000), { 'If-None-Match': '*' }),
}

const proxy = {
  command: process.env.PROXY ?? here('../dist/main.js'),
  env: {
    TOMTOM_API_KEY: 'benchmark-key-0000',
    TOMTOM_BASE_URL: `http://127.0.0.1:${upstreamPort}`,
    HOST: '127.0.0.1',
    ADMIN_PORT: '0',
    CACHE_TTL: '1h',
    UPSTREAM_MAX_QPS: '0',
    LOG_LEVEL: 'warn',
  },
}
const variants = {
  raw: { command: here('peers/raw.mjs') },
  proxy,
  'raw-again': { command: here('peers/raw.mjs') },
}

const results = {}
for (let round = 0; round < rounds; round++) {
  for (const [name, { command, env }] of Object.entries(variants)) {
    const port = await freePort()
    const probe = `http://127.0.0.1:${port}/search/2/chargingAvailability.json?chargingAvailability=station-0`
    const server = await startServer('node', [command], { env: { ...env, PORT: String(port) }, probe })
    for (const [load, script] of Object.entries(loads)) {
      if (only && !only.includes(load)) continue
      await measure({ pid: server.pid, port, script, seconds: 3 }) // warm
      const result = await measure({ pid: server.pid, port, script, seconds })
      if (result.refused > 0 || result.broken) throw new Error(`${name}, ${load}: ${JSON.stringify(result)}`)
      ;((results[load] ??= {})[name] ??= []).push(result.perCpuSecond)
    }
    await server.stop()
  }
}
await upstream.stop()

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
console.log(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus()[0].model}; ${rounds} rounds of ${seconds} s\n`,
)
console.log('| load | raw node:http, requests per CPU second | proxy | raw again (noise) |')
console.log('| --- | --- | --- | --- |')
for (const [load, byName] of Object.entries(results)) {
  const base = median(byName.raw)
  const ratio = (name) => `${median(byName[name].map((value, i) => value / byName.raw[i])).toFixed(2)}`
  console.log(`| ${load} | ${Math.round(base)} | ${ratio('proxy')} | ${ratio('raw-again')} |`)
}
