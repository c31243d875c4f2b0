import { parseArgs } from 'node:util'
import { prepareProcesses } from './fuzz-processes.ts'
import { fuzz, FUZZERS, startTarget } from './fuzz-run.ts'
import { request } from './request.ts'
import { until } from './until.ts'

/*
 * `npm run fuzz -- --seconds 60 --seed 1`: each kind in turn for the same time, until the time is over; with `--kind` one
 * alone. For a failure
 * fast-check prints the seed, the path to the case, and the smallest failing case.
 */

const { values } = parseArgs({
  options: { seconds: { type: 'string' }, seed: { type: 'string' }, kind: { type: 'string' } },
})
const endsAtMs = performance.now() + Number(values.seconds ?? 60) * 1_000
const names = values.kind === undefined ? Object.keys(FUZZERS) : [values.kind]
/** Each kind has its turn in a run of a minute, too. */
const TURN_MS = 3_000
/** Between two looks at the clock. */
const RUNS = 20

const processes = await prepareProcesses()
const target = await startTarget(processes.start)
async function inFlight(): Promise<number> {
  const { text } = await request(target.proxy.adminUrl, '/metrics')
  return Number(/^evproxy_upstream_in_flight (\d+)/m.exec(text)?.[1])
}

const done = names.map((name) => ({ name, runs: 0, ms: 0 }))
let seed = Number(values.seed ?? Date.now() % 1_000_000_000)
console.log(`Node ${process.version}, seed ${seed}`)
while (performance.now() < endsAtMs) {
  for (const kind of done) {
    const startedAt = performance.now()
    do {
      await fuzz(target, kind.name, { seed: seed++, numRuns: RUNS })
      kind.runs += RUNS
    } while (performance.now() < startedAt + TURN_MS)
    kind.ms += performance.now() - startedAt
    await until('no call is in flight', async () => (await inFlight()) === 0)
    await processes.check(kind.name)
  }
}
await target.stop()
for (const { name, runs, ms } of done) console.log(`${name}: ${runs} cases in ${(ms / 1_000).toFixed(0)} s`)
console.log(processes.summary())
console.log('nothing found')
