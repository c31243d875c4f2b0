/** Memory of cached stations and pauses of their garbage collection: lib/hold.mjs in one process per size. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { endWithUs, SERVER_CORE } from '../lib/process.mjs'
import { table } from '../lib/stats.mjs'

const run = promisify(execFile)
const HOLD = fileURLToPath(new URL('../lib/hold.mjs', import.meta.url))
const SIZES = [10_000, 100_000, 1_000_000]
/** Renderings of a million stations would need more memory than most machines have. */
const MAX_RENDERED = 100_000

export async function memory({ quick, say }) {
  const rows = []
  let body = 0
  for (const stations of quick ? SIZES.slice(0, 2) : SIZES) {
    say(`memory: ${stations} stations`)
    const seen = await hold(stations)
    body = seen.bodyBytes
    const each = (bytes) => (bytes === undefined ? '–' : (bytes / stations).toFixed(0))
    const eachRendered = (bytes) => (bytes === undefined ? '–' : (bytes / seen.rendered).toFixed(0))
    rows.push([
      stations.toLocaleString('en'),
      each(seen.heap),
      each(seen.resident),
      each(seen.accounted),
      eachRendered(seen.renderedHeap),
      eachRendered(seen.renderedAccounted),
      seen.pauseWhileFilling.toFixed(0),
      seen.pauseInUse.toFixed(0),
    ])
  }
  const head = [
    'stations',
    'heap and external, bytes each',
    'resident, bytes each',
    'as the cache counts',
    'three renderings more',
    'as the cache counts',
    'longest collection while filling, ms',
    'in use, ms',
  ]
  return [`Answers of ${body} bytes of JSON.`, table(head, rows)].join('\n\n')
}

async function hold(stations) {
  const flags = ['--expose-gc', '--max-old-space-size=12000']
  const env = { ...process.env, STATIONS: String(stations), RENDER: stations <= MAX_RENDERED ? '1' : '' }
  const command = ['-c', SERVER_CORE, process.execPath, ...flags, HOLD]
  const held = run('taskset', command, { env })
  endWithUs(held.child)
  const { stdout } = await held
  return JSON.parse(stdout)
}
