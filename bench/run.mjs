/**
 * Runs the benchmarks and prints their tables as Markdown:
 *
 *   npm run bench -- [--quick] [--only hits,filters,gzip,304,misses,economy,memory,pauses,page,start]
 *                    [--peers nginx,varnish] [--rounds 3] [--seconds 3] [--write]
 *
 * All of it takes about 25 minutes, --quick about 5. --write puts each table into docs/benchmarks.md, between the marks
 * that bear its name. What a peer needs and this machine lacks is said, and the others go on.
 */
import { cpus } from 'node:os'
import { writeTables } from './lib/document.mjs'
import { readOptions, requirePrograms, say } from './lib/options.mjs'
import { useLoadCore } from './lib/process.mjs'
import { economy } from './parts/economy.mjs'
import { hotPath } from './parts/hot-path.mjs'
import { memory } from './parts/memory.mjs'
import { misses } from './parts/misses.mjs'
import { page } from './parts/page.mjs'
import { pauses } from './parts/pauses.mjs'
import { start } from './parts/start.mjs'
import { peers, present } from './peers/index.mjs'

/** The loads of the first part, as the command line calls them. */
const HOT = [
  ['hits', 'hits'],
  ['filters', 'filters'],
  ['gzip', 'gzip'],
  ['304', 'not modified'],
]
const OTHERS = { misses, economy, memory, pauses, page, start }

requirePrograms()
const options = readOptions(process.argv.slice(2))
useLoadCore()
const asked = (part) => options.only === null || options.only.includes(part)
const own = new Set(['raw', 'proxy', 'raw-again'])
const others = Object.keys(peers).filter((name) => name !== 'fastify-again') // that of bench:check
const names = present(
  others.filter((name) => own.has(name) || (options.peers?.includes(name) ?? true)),
  say,
)

const loads = HOT.filter(([name]) => asked(name)).map(([, load]) => load)
const tables = {}
if (loads.length > 0) show('hot path', await hotPath({ ...options, names, loads, say }))
for (const [name, part] of Object.entries(OTHERS)) {
  if (asked(name)) show(name, await part({ ...options, names, say }))
}
if (options.write) writeTables(tables)

function show(name, text) {
  const day = new Date().toISOString().slice(0, 10)
  const machine = `${day}, Node ${process.version}, ${cpus().length} cores of ${cpus()[0].model.trim()}`
  tables[name] = `${machine}. ${text}`
  console.log(`\n## ${name}\n\n${tables[name]}`)
}
