/**
 * What a quota buys: days of traffic on a virtual clock against stations that change, every answer compared with what
 * upstream publishes at that moment. The first day, of which nothing is known, has a row of its own.
 *
 * Usage: npm run bench:quota [-- --only "a bot"] [-- --write]. `--write` puts the tables and the plot into docs/.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { bestWithin, fewestWrong, fixedTtl, leastAge } from './lib/quota/fixed-and-known.mjs'
import { plotWrong } from './lib/quota/plot.mjs'
import { PLOT_LIMITS, plotScenario, SCENARIOS } from './lib/quota/scenarios.mjs'
import { simulate, summarize } from './lib/quota/simulate.mjs'
import { createSingleTtl } from './lib/quota/single-ttl.mjs'
import { createThisBuild } from './lib/quota/this-build.mjs'
import { createTraffic } from './lib/quota/traffic.mjs'
import { createWorld } from './lib/quota/world.mjs'
import { say } from './lib/options.mjs'
import { table } from './lib/stats.mjs'

const THIS_BUILD = 'this build'
const FROM_DAY = 1
const PLOT = new URL('../docs/quota.svg', import.meta.url)
const TABLE = new URL('../docs/quota.md', import.meta.url)
const HEAD = ['right', 'wrong', '503', 'mean age', 'median', 'p90', 'calls a day', 'estimate off by']

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)

/** `{ [policy]: days }` of one scenario. */
async function run(scenario) {
  const { limit, per, days, stations } = scenario
  const world = createWorld({ stations, days, seed })
  const traffic = createTraffic({ stations, days, seed, ...scenario.traffic })
  const perDay = per === 'day' ? limit : limit / days
  const hindsight = (create, range) =>
    bestWithin({ create, limit: perDay, traffic, fromDay: FROM_DAY, days, range })
  const policies = {
    [THIS_BUILD]: () => createThisBuild({ ...scenario, world }),
    'one paced TTL': () => createSingleTtl(scenario),
    'best fixed TTL, with hindsight': () => hindsight(fixedTtl(), [30_000, 86_400_000]),
    'least age, all rates known': () => hindsight(leastAge({ traffic }), [1_000, 1e14]),
    'fewest wrong, all rates known': () => hindsight(fewestWrong({ world, traffic }), [1e-6, 1e6]),
  }
  const results = {}
  for (const [name, create] of Object.entries(policies)) {
    results[name] = await simulate({ world, traffic, policy: create() })
  }
  return results
}

const percent = (share) => `${(share * 100).toFixed(1)} %`
const seconds = (value) => `${Math.round(value).toLocaleString('en')} s`

function cells(days) {
  const { right, wrong, refused, meanAge, medianAge, p90Age, calls, estimateError } = summarize(days)
  const estimate = estimateError === null ? '' : `${(estimateError * 100).toFixed(1)} points`
  return [
    ...[right, wrong, refused].map(percent),
    ...[meanAge, medianAge, p90Age].map(seconds),
    Math.round(calls).toLocaleString('en'),
    estimate,
  ]
}

function rows({ name }, results) {
  const later = Object.entries(results).map(([policy, days]) => [
    name,
    policy,
    ...cells(days.slice(FROM_DAY)),
  ])
  return [[name, `${THIS_BUILD}, first day`, ...cells(results[THIS_BUILD].slice(0, FROM_DAY))], ...later]
}

/** Replaces what stands between two marks in docs/quota.md. */
function writeTable(text) {
  const [begin, end] = ['<!-- bench: quota -->', '<!-- /bench: quota -->']
  const page = readFileSync(TABLE, 'utf8')
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error('docs/quota.md has no place for the table')
  writeFileSync(TABLE, `${page.slice(0, from)}${begin}\n\n${text}\n\n${page.slice(to)}`)
}

const isWanted = ({ name }) => values.only === undefined || name.includes(values.only)
const lines = []
const byLimit = new Map()
for (const scenario of SCENARIOS.filter(isWanted)) {
  say(scenario.name)
  const results = await run(scenario)
  lines.push(...rows(scenario, results))
  if (scenario.name === plotScenario(scenario.limit).name) byLimit.set(scenario.limit, results)
}
const text = table(['scenario', 'policy', ...HEAD], lines)
console.log(text)

if (values.write) {
  for (const limit of PLOT_LIMITS.filter((limit) => !byLimit.has(limit))) {
    say(`plot: ${limit}`)
    byLimit.set(limit, await run(plotScenario(limit)))
  }
  const wrongOf = (limit, name) => summarize(byLimit.get(limit)[name].slice(FROM_DAY)).wrong
  const series = Object.keys(byLimit.get(PLOT_LIMITS[0])).map((name) => ({
    name,
    points: PLOT_LIMITS.map((limit) => ({ limit, wrong: wrongOf(limit, name) })),
  }))
  writeFileSync(PLOT, plotWrong(series))
  writeTable(text)
}
