import { parseArgs } from 'node:util'
import { fuzz, FUZZERS, startTarget } from './fuzz-run.ts'

/*
 * `npm run fuzz -- --seconds 60 --seed 1`: rounds until the time is over, each with the next seed and all kinds. For a
 * failure fast-check prints the seed, the path to the case, and the smallest failing case.
 */

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } })
const endsAtMs = Date.now() + Number(values.seconds ?? 60) * 1_000
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000_000)
const RUNS = 300

/** Heap after a full collection, in MB. */
function heapMb(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}

/** Rounds until the caches are full; after them the heap must not grow. */
const WARM_UP_ROUNDS = 3
const MAX_GROWTH_MB = 24

const target = await startTarget()
let warmMb = 0
let seed = firstSeed
console.log(`seed ${seed}`)
for (let round = 1; Date.now() < endsAtMs; round++, seed++) {
  for (const name of Object.keys(FUZZERS)) await fuzz(target, name, { seed, numRuns: RUNS })
  for (const { rawLogs } of [target.proxy, target.lying.proxy]) rawLogs.length = 0
  const mb = heapMb()
  if (round === WARM_UP_ROUNDS) warmMb = mb
  const grown = round > WARM_UP_ROUNDS ? mb - warmMb : 0
  console.log(`seed ${seed}: ${RUNS} of each kind, heap ${mb.toFixed(1)} MB`)
  if (grown > MAX_GROWTH_MB)
    throw new Error(`the heap grew by ${grown.toFixed(1)} MB since round ${WARM_UP_ROUNDS}`)
}
await target.stop()
console.log('nothing found')
