import { colour, dashed, frame, Legend, Plot } from './plot.js'

const PARTS = [
  { name: 'calls left', colour: '--accent', kind: 'line' },
  { name: 'expected by pacing', colour: '--warn', kind: 'line' },
  { name: 'even usage', colour: '--c-limit', kind: 'line' },
]

/** The remaining quota from the start of the period to its reset, with what pacing expects. */
export class QuotaPlot {
  #plot
  #range = [0, 1]
  #limit = 1

  constructor(host, legend) {
    new Legend(legend, PARTS).update([], '')
    this.#plot = new Plot(host, () => ({
      ...frame({ unit: 'calls left', range: () => this.#range, top: () => this.#limit * 1.04 }),
      series: [{}, measured(), dashed('--warn', [3, 4]), dashed('--c-limit', [6, 5])],
    }))
  }

  /** `quota` of a report, with all its points; `now` in ms since the epoch. */
  show(quota, now) {
    this.#range = [quota.startedAt / 1000, quota.resetAt / 1000]
    this.#limit = quota.limit
    this.#plot.show(aligned([past(quota, now), future(quota, now), evenUsage(quota)]))
  }
}

function past({ remaining, startedAt, partMs, points }, now) {
  const ends = points.map(([part, left]) => [startedAt + (part + 1) * partMs, left])
  return [...ends.filter(([end]) => end < now), [now, remaining]]
}

function future({ remaining, resetAt, forecast }, now) {
  return forecast === null || !forecast.isProjected
    ? []
    : [
        [now, remaining],
        [resetAt, forecast.projectedRemaining],
      ]
}

function evenUsage({ limit, startedAt, resetAt }) {
  return [
    [startedAt, limit],
    [resetAt, 0],
  ]
}

/** Converts lines of points `[ms, value]` to uPlot's format: one list of times in seconds, and one of values per line. */
function aligned(lines) {
  const times = [...new Set(lines.flat().map(([at]) => at))].toSorted((a, b) => a - b)
  const values = lines.map((line) => {
    const at = new Map(line)
    return times.map((time) => at.get(time) ?? null)
  })
  return [times.map((time) => time / 1000), ...values]
}

/** A line with a dot at its last measured point. */
function measured() {
  const accent = colour('--accent')
  return {
    stroke: accent,
    fill: `${accent}22`,
    width: 2,
    spanGaps: true,
    points: {
      show: true,
      size: 8,
      fill: accent,
      filter: ({ data }, series) => [data[series].findLastIndex((value) => value !== null)],
    },
  }
}
