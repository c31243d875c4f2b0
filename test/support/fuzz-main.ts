import { parseArgs } from 'node:util'
import { ensureNoneInFlight } from './fuzz-breaking.ts'
import { prepareProcesses } from './fuzz-processes.ts'
import { ensureAtRest, levelsOf } from './fuzz-rest.ts'
import { fuzz, FUZZERS, startTarget } from './fuzz-run.ts'

/*
 * `npm run fuzz -- --seconds 60 --seed 1`: each kind in turn for the same time, until the time is over; with `--kind` one
 * alone. For a failure fast-check prints the seed, the path to the case, and the smallest failing case. After each kind
 * every service has to come to rest.
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
/** Until the end of a service that has ended is printed. */
const REPORT_MS = 500

const processes = await prepareProcesses()
const target = await startTarget(processes.start)
const atStart = await Promise.all(target.services.map(levelsOf))

/** @throws Error if a service has not returned what the clients of this kind took */
async function rest(kind: string): Promise<void> {
  try {
    await Promise.all(target.services.map((service, i) => ensureAtRest(service, atStart[i] ?? null)))
    await ensureNoneInFlight(target)
  } catch (error) {
    throw new Error(`after ${kind}`, { cause: error })
  }
}

const done = names.map((name) => ({ name, runs: 0, ms: 0 }))
let seed = Number(values.seed ?? Date.now() % 1_000_000_000)
console.log(`Node ${process.version}, seed ${seed}`)
do {
  for (const kind of done) {
    const startedAt = performance.now()
    do {
      try {
        await fuzz(target, kind.name, { seed: seed++, numRuns: RUNS })
      } catch (error) {
        await new Promise((resolve) => setTimeout(resolve, REPORT_MS))
        throw error
      }
      kind.runs += RUNS
    } while (performance.now() < startedAt + TURN_MS)
    kind.ms += performance.now() - startedAt
    await rest(kind.name)
    await processes.check(kind.name)
  }
} while (performance.now() < endsAtMs)
await target.stop()
for (const { name, runs, ms } of done) console.log(`${name}: ${runs} cases in ${(ms / 1_000).toFixed(0)} s`)
console.log(processes.summary())
console.log('nothing found')
