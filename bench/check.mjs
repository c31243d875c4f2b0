/**
 * The guard of the hot path: hits, random filters and gzip against a bare Fastify route, in one run of less than 90
 * seconds. Exits 1 below a floor. Usage: npm run bench:check
 *
 * Both servers have the same framework and the same machine, so the ratio depends on the work of the service alone.
 * Where two runs of bare Fastify differ by more than 10 %, the machine cannot tell, and a floor gives way by as much as
 * they differ beyond that.
 */
import { requirePrograms, say } from './lib/options.mjs'
import { useLoadCore } from './lib/process.mjs'
import { median, ratios, spread, table } from './lib/stats.mjs'
import { measureHotPath } from './parts/hot-path.mjs'

/**
 * The least that is accepted, as parts of what bare Fastify does. Measured: 0.92, 0.81 and 0.91. The floors are lower by
 * what processors with small caches lose, where a build with 0.83 for hits reached 0.70.
 */
const FLOORS = { hits: 0.7, filters: 0.62, gzip: 0.7 }
const TOLERATED_NOISE = 0.1

requirePrograms()
useLoadCore()
const results = await measureHotPath({
  names: ['fastify', 'proxy', 'fastify-again'],
  loads: Object.keys(FLOORS),
  rounds: 3,
  seconds: 1,
  warmSeconds: 1,
  say,
})
const verdicts = Object.entries(FLOORS).map(([load, floor]) => judge(load, floor))
console.log(
  table(
    ['', 'proxy / bare Fastify', 'own work, µs', 'Fastify again / Fastify', 'floor', ''],
    verdicts.map(({ load, reached, ownWork, again, floor, holds }) => [
      load,
      spread(reached),
      spread(ownWork, 1),
      spread(again),
      floor.toFixed(2),
      holds ? 'holds' : 'BELOW',
    ]),
  ),
)
if (verdicts.some(({ holds }) => !holds)) process.exitCode = 1

function judge(load, floor) {
  const { fastify, proxy, 'fastify-again': fastifyAgain } = results[load]
  const [reached, again] = [ratios(proxy, fastify), ratios(fastifyAgain, fastify)]
  const ownWork = proxy.map((perSecond, round) => 1e6 / perSecond - 1e6 / fastify[round])
  const noise = Math.max(...again.map((ratio) => Math.abs(ratio - 1)))
  const lowered = floor * (1 - Math.max(0, noise - TOLERATED_NOISE))
  return { load, reached, ownWork, again, floor: lowered, holds: median(reached) >= lowered }
}
