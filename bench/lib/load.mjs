/** Load by wrk on a core of its own: requests and errors, against the server's CPU time, and latencies. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cpuSeconds, endWithUs, LOAD_CORE } from './process.mjs'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'bench-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

let scripts = 0

/** A wrk script that goes through the requests given: `{ target, headers }`, over and over. */
export function wrkScript(requests) {
  const file = join(folder, `${scripts++}.lua`)
  const text = JSON.stringify
  const table = (headers) =>
    Object.entries(headers)
      .map(([name, value]) => `[${text(name)}] = ${text(value)}`)
      .join(', ')
  const list = requests.map(
    ({ target, headers = {} }) => `  wrk.format('GET', ${text(target)}, {${table(headers)}}),`,
  )
  writeFileSync(
    file,
    `local requests
function init() requests = {\n${list.join('\n')}\n} end
local at = 0
request = function()
  at = at % #requests + 1
  return requests[at]
end
`,
  )
  return file
}

/** Requests per server CPU second over so many seconds, and the latency of 99 in 100 in ms. */
export async function measure({ pid, port, script, seconds, connections = 64 }) {
  const before = cpuSeconds(pid)
  const load = run('taskset', [
    '-c',
    LOAD_CORE,
    'wrk',
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    '--timeout',
    '20s',
    '-s',
    script,
    `http://127.0.0.1:${port}/`,
  ])
  endWithUs(load.child)
  const { stdout } = await load
  const cpu = cpuSeconds(pid) - before
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0)
  const broken = /Socket errors: .*/.exec(stdout)?.[0] ?? null
  if (refused > 0 || broken !== null) throw new Error(`${refused} refused, ${broken ?? 'none broken'}`)
  if (!(requests > connections)) throw new Error(`${requests} requests in all`)
  return {
    requests,
    perCpuSecond: requests / cpu,
    perSecond: requests / seconds,
    p99Ms: milliseconds(/99%\s+(\S+)/.exec(stdout)?.[1] ?? ''),
  }
}

/** Every request at least once, so that what can be kept is kept, and code that is hot is compiled. */
export async function warm({ requestCount, leastSeconds, ...load }) {
  const first = await measure({ ...load, seconds: leastSeconds })
  const missing = Math.ceil((1.1 * requestCount) / first.perSecond)
  if (first.requests < requestCount) await measure({ ...load, seconds: Math.min(missing, 15) })
}

/** wrk writes `850.00us`, `3.21ms`, `1.05s`. */
function milliseconds(text) {
  const [, number = 'NaN', unit = 'ms'] = /^([\d.]+)(us|ms|s)$/.exec(text) ?? []
  return Number(number) * { us: 0.001, ms: 1, s: 1000 }[unit]
}
