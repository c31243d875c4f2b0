/** What the quota benchmark runs: `{ name, limit, per, days, stations, replicas, traffic }`. */
import { MAX_TTL } from './settings.mjs'

const DAY = MAX_TTL
const HOUR = 3_600_000
const LIMIT = 10_000
/** Made-up ids: all different. */
const madeUp = (number) => -1 - number
/** The least popular station. */
const COLD = 999
/** Rank 200: a request every 25 minutes, but for the crowd. */
const CROWDED = 200

const daily = (limit) => ({ name: `${limit.toLocaleString('en')} a day`, limit })
const extra = (perMs, station, from = 0) => ({ perMs, from, to: 4 * DAY, station, isCounted: false })

export const SCENARIOS = [
  ...[1_000, 2_500, 10_000, 50_000].map(daily),
  { name: '75,000 a month', limit: 75_000, per: 'month', days: 31 },
  { name: 'plenty: 1,000,000 a day', limit: 1_000_000 },
  {
    name: 'made-up ids, one in 5 s from the second day',
    traffic: { extras: [extra(1 / 5_000, madeUp, DAY)] },
  },
  { name: 'made-up ids, one in 5 s from the start', traffic: { extras: [extra(1 / 5_000, madeUp)] } },
  {
    name: 'flash crowd, 10 a second for an hour each day',
    traffic: {
      extras: [0, 1, 2, 3].map((day) => ({
        perMs: 1 / 100,
        from: day * DAY + 12 * HOUR,
        to: day * DAY + 13 * HOUR,
        station: CROWDED,
        isCounted: false,
      })),
    },
  },
  { name: 'a bot: one cold station each second', traffic: { extras: [extra(1 / 1_000, COLD)] } },
  { name: 'popularity moves over night', traffic: { shuffledDaily: true } },
  { name: '20,000 stations', stations: 20_000 },
  { name: 'three replicas', replicas: 3 },
].map((scenario) => ({
  limit: LIMIT,
  per: 'day',
  days: 4,
  stations: 1_000,
  replicas: 1,
  traffic: {},
  ...scenario,
}))

/** Quotas of the plot. */
export const PLOT_LIMITS = [1_000, 2_500, 5_000, 10_000, 20_000, 50_000]
export const plotScenario = (limit) => ({ ...SCENARIOS[0], ...daily(limit) })
