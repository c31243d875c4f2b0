/**
 * The guard of the hot path: hits, random filters and gzip against raw node:http, in one run of less than 90 seconds.
 * Exits 1 below a floor. Usage: npm run bench:check
 *
 * A floor is 10 % under what the proxy reaches on a quiet machine (docs/benchmarks.md). Where two runs of the very same
 * raw server differ by more than that, the machine cannot tell, and the floor gives way by as much as they differ.
 */
import { requirePrograms, say } from './lib/options.mjs'
import { useLoadCore } from './lib/process.mjs'
import { median, ratios, spread, table } from './lib/stats.mjs'
import { measureHotPath } from './parts/hot-path.mjs'

const FLOORS = { hits: 0.72, filters: 0.62, gzip: 0.65 }
const FLOOR_DISTANCE = 0.1

requirePrograms()
useLoadCore()
const results = await measureHotPath({
  names: ['raw', 'proxy', 'raw-again'],
  loads: Object.keys(FLOORS),
  rounds: 2,
  seconds: 2,
  warmSeconds: 1,
  say,
})
const verdicts = Object.entries(FLOORS).map(([load, floor]) => judge(load, floor))
console.log(
  table(
    ['', 'proxy / raw', 'raw again / raw', 'floor', ''],
    verdicts.map(({ load, reached, again, floor, holds }) => [
      load,
      spread(reached),
      spread(again),
      floor.toFixed(2),
      holds ? 'holds' : 'BELOW',
    ]),
  ),
)
if (verdicts.some(({ holds }) => !holds)) process.exitCode = 1

function judge(load, floor) {
  const { raw, proxy, 'raw-again': rawAgain } = results[load]
  const [reached, again] = [ratios(proxy, raw), ratios(rawAgain, raw)]
  const noise = Math.max(...again.map((ratio) => Math.abs(ratio - 1)))
  const lowered = floor * (1 - Math.max(0, noise - FLOOR_DISTANCE))
  return { load, reached, again, floor: lowered, holds: median(reached) >= lowered }
}
