/**
 * The guard of the hot path: hits, random filters and gzip against raw node:http, in one run of less than 90 seconds.
 * Exits 1 below a floor. Usage: npm run bench:check
 *
 * Where two runs of the very same raw server differ by more than 10 %, the machine cannot tell, and a floor gives way by
 * as much as they differ beyond that.
 */
import { requirePrograms, say } from './lib/options.mjs'
import { useLoadCore } from './lib/process.mjs'
import { median, ratios, spread, table } from './lib/stats.mjs'
import { measureHotPath } from './parts/hot-path.mjs'

/** The least that is accepted, as parts of what raw node:http does: a good 10 % under the table of docs/benchmarks.md. */
const FLOORS = { hits: 0.77, filters: 0.68, gzip: 0.84 }
const TOLERATED_NOISE = 0.1

requirePrograms()
useLoadCore()
const results = await measureHotPath({
  names: ['raw', 'proxy', 'raw-again'],
  loads: Object.keys(FLOORS),
  rounds: 3,
  seconds: 1,
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
  const lowered = floor * (1 - Math.max(0, noise - TOLERATED_NOISE))
  return { load, reached, again, floor: lowered, holds: median(reached) >= lowered }
}
