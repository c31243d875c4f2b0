import { element, setText, swatch } from './dom.js'
import { clock, date } from './format.js'

/* index.html loads uPlot as a classic script before the modules. */
const { uPlot } = globalThis

const DAY = 86_400
const FONT = '12px system-ui, sans-serif'

/** The value of a CSS variable in the current colour scheme. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** A plot that fills its host, follows its size, and is redrawn when the colour scheme changes. */
export class Plot {
  #host
  #options
  #plot = null
  #data = null

  /** `options` returns uPlot's options; it is called again after a change of colours. */
  constructor(host, options) {
    this.#host = host
    this.#options = options
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(host)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#redraw())
  }

  show(data) {
    this.#data = data
    if (this.#plot === null) this.#redraw()
    else this.#plot.setData(data)
  }

  #redraw() {
    this.#plot?.destroy()
    if (this.#data === null) return
    this.#plot = new uPlot({ ...this.#size(), ...this.#options() }, this.#data, this.#host)
  }

  #size() {
    return { width: this.#host.clientWidth, height: this.#host.clientHeight }
  }
}

/**
 * The uPlot options that all plots share: time on the x axis, and `unit` on the y axis from 0 to `top(max)`. `range`
 * returns the first and the last second shown, since the epoch.
 */
export function frame({ unit, range, top }) {
  const axis = {
    stroke: colour('--muted'),
    font: FONT,
    grid: { stroke: colour('--grid'), width: 1 },
    ticks: { stroke: colour('--grid'), width: 1, size: 5 },
  }
  return {
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { range }, y: { range: (_plot, _min, max) => [0, top(max)] } },
    axes: [
      { ...axis, values: times, space: 64, size: 26 },
      { ...axis, label: unit, labelFont: FONT, labelSize: 20, labelGap: 0, size: widthOf, space: 36 },
    ],
  }
}

/** A dashed line, for values that are not measured. */
export function dashed(variable, dash) {
  return { stroke: colour(variable), width: 1.5, dash, spanGaps: true, points: { show: false } }
}

/** The legend of a plot: name, colour and value of each part, `{ name, colour, meaning?, kind? }`. */
export class Legend {
  #values
  #when = element('li', { className: 'muted' })

  constructor(host, parts) {
    this.#values = parts.map(() => element('b'))
    const items = parts.map(({ name, meaning = '', colour, kind }, i) =>
      element('li', { title: meaning }, swatch(colour, kind), name, this.#values[i]),
    )
    host.replaceChildren(...items, this.#when)
  }

  /** `when` names the time of the values. */
  update(values, when) {
    for (const [i, target] of this.#values.entries()) setText(target, values[i] ?? '')
    setText(this.#when, when)
  }
}

/** Axis labels: times of day, or dates if a step is a day or more. */
function times(_plot, splits, _axis, _space, step) {
  return splits.map((at) => (step >= DAY ? date(at * 1000) : clock(at * 1000)))
}

/** Width of the longest number of an axis, in pixels. */
function widthOf(_plot, values) {
  const longest = Math.max(1, ...(values ?? []).map((value) => String(value).length))
  return 16 + 7 * longest
}
