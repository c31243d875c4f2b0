import { colour, dashed, frame, Legend, Plot } from './plot.js'

const PARTS = [
  { name: 'left', colour: '--accent', kind: 'line' },
  { name: 'if the last hour goes on', colour: '--warn', kind: 'line' },
  { name: 'even pace', colour: '--c-limit', kind: 'line' },
]

/** What is left of the quota, from the period's start to its reset, and where it is going. */
export class QuotaPlot {
  #plot
  #range = [0, 1]
  #limit = 1

  constructor(host, legend) {
    new Legend(legend, PARTS).tell([], '')
    this.#plot = new Plot(host, () => ({
      ...frame({ unit: 'calls left', range: () => this.#range, top: () => this.#limit * 1.04 }),
      series: [{}, measured(), dashed('--warn', [3, 4]), dashed('--c-limit', [6, 5])],
    }))
  }

  /** `quota` of a report, with all its points; `now` in ms since the epoch. */
  show(quota, now) {
    this.#range = [quota.startedAt / 1000, quota.resetAt / 1000]
    this.#limit = quota.limit
    this.#plot.show(aligned([past(quota, now), future(quota, now), evenPace(quota)]))
  }
}

function past({ remaining, startedAt, partMs, points }, now) {
  const ends = points.map(([part, left]) => [startedAt + (part + 1) * partMs, left])
  return [...ends.filter(([end]) => end < now), [now, remaining]]
}

function future({ remaining, resetAt, projection }, now) {
  if (projection === null) return []
  const { spentAtMs, remainingAtReset } = projection
  const end = spentAtMs === null ? [resetAt, remainingAtReset] : [spentAtMs, 0]
  return [[now, remaining], end]
}

function evenPace({ limit, startedAt, resetAt }) {
  return [
    [startedAt, limit],
    [resetAt, 0],
  ]
}

/** Lines of points `[ms, value]`, as uPlot takes them: one list of times in seconds, and for each line its values. */
function aligned(lines) {
  const times = [...new Set(lines.flat().map(([at]) => at))].toSorted((a, b) => a - b)
  const values = lines.map((line) => {
    const at = new Map(line)
    return times.map((time) => at.get(time) ?? null)
  })
  return [times.map((time) => time / 1000), ...values]
}

/** A line with a dot at its end, which is now. */
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
