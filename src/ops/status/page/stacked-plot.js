import { moment, rate } from './format.js'
import { colour, dashed, frame, Legend, Plot } from './plot.js'

const { uPlot } = globalThis

const LIMIT = { name: 'limit', colour: '--c-limit', kind: 'line' }

/**
 * Bars over time, stacked in the order of `parts` (`{ name, colour }`) from the bottom; with `hasLimit`, a line for a
 * limit. The legend shows the means of the last minute, or those of the bar under the pointer.
 */
export class StackedPlot {
  #plot
  #legend
  #range = [0, 1]
  #starts = []
  #means = []
  #now = []
  #limit = null

  constructor(host, legend, { unit, parts, hasLimit }) {
    this.#legend = new Legend(legend, hasLimit ? [...parts, LIMIT] : parts)
    this.#plot = new Plot(host, () => ({
      ...frame({ unit, range: () => this.#range, top: (max) => Math.max(1, max * 1.05) }),
      series: [{}, ...parts.toReversed().map(bars), dashed(LIMIT.colour, [6, 5])],
      hooks: { setCursor: [({ cursor }) => this.#updateLegend(cursor.left >= 0 ? cursor.idx : null)] },
    }))
  }

  /**
   * Shows `bars` bars of `size` seconds up to `end`. `means` has a list for each part, with a value for each bar that
   * begins at `starts`; times are in seconds since the epoch. `now` has the legend's values; `limit` may be null.
   */
  show({ starts, means, end }, { size, bars: count, limit, now }) {
    const last = Math.ceil(end / size) * size
    const at = new Map(starts.map((start, i) => [start, i]))
    this.#range = [last - count * size, last]
    this.#starts = Array.from({ length: count }, (_, i) => last - (count - i) * size)
    this.#means = means.map((values) => this.#starts.map((start) => values[at.get(start)] ?? 0))
    this.#now = now
    this.#limit = limit
    const limits = this.#starts.map(() => limit)
    this.#plot.show([this.#starts, ...stacked(this.#means).toReversed(), limits])
    this.#updateLegend(null)
  }

  #updateLegend(index) {
    const start = this.#starts[index ?? -1]
    const values = start === undefined ? this.#now : this.#means.map((means) => means[index])
    const when = start === undefined ? 'in the last minute' : `at ${moment(start * 1000)}`
    const limit = this.#limit === null ? 'none' : String(this.#limit)
    this.#legend.update([...values.map(rate), limit], `per second, ${when}`)
  }
}

/** Cumulative sums. They are drawn from the highest to the lowest, so that only a part's own height stays visible. */
function stacked(means) {
  const sums = []
  for (const values of means) {
    const below = sums.at(-1)
    sums.push(below === undefined ? values : values.map((value, i) => value + below[i]))
  }
  return sums
}

function bars(part) {
  return {
    fill: colour(part.colour),
    width: 0,
    points: { show: false },
    paths: uPlot.paths.bars({ size: [0.86, 40], align: 1 }),
  }
}
