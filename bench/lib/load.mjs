/** Load by wrk on core 1: counts requests and errors against the server's CPU time. */
import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cpuSeconds } from './process.mjs'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'bench-'))

/** A wrk script that goes through the targets given, each with the headers given, from a random start. */
export function wrkScript(name, targets, headers = {}) {
  const file = join(folder, `${name}.lua`)
  const set = Object.entries(headers).map(
    ([header, value]) => `wrk.headers[${JSON.stringify(header)}] = ${JSON.stringify(value)}`,
  )
  const list = targets.map((target) => `  wrk.format('GET', ${JSON.stringify(target)}),`).join('\n')
  writeFileSync(
    file,
    `${set.join('\n')}
local requests
function init() requests = {\n${list}\n} end
local at = 0
function setup(thread) thread:set('seed', os.time()) end
request = function()
  at = at % #requests + 1
  return requests[at]
end
`,
  )
  return file
}

/** Requests per server CPU second over so many seconds with 64 connections. */
export async function measure({ pid, port, script, seconds }) {
  const before = cpuSeconds(pid)
  const { stdout } = await run('taskset', [
    '-c',
    '1',
    'wrk',
    '-t1',
    '-c64',
    `-d${seconds}s`,
    '-s',
    script,
    `http://127.0.0.1:${port}/`,
  ])
  const cpu = cpuSeconds(pid) - before
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0)
  const broken = /Socket errors: .*/.exec(stdout)?.[0] ?? null
  return { perCpuSecond: requests / cpu, perSecond: requests / seconds, requests, refused, broken }
}
