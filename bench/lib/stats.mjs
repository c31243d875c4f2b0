/** What repeated measurements say: their middle, and how far apart they lie. */

/** The value that half of them do not exceed. */
export function median(values) {
  return quantile(values, 0.5)
}

/** The value that this part (0 to 1) of them does not exceed; NaN of none. */
export function quantile(values, part) {
  const sorted = [...values].toSorted((a, b) => a - b)
  if (sorted.length === 0) return Number.NaN
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * part) - 1))]
}

/** Round by round, for what both have: values measured close together share what the machine did then. */
export function ratios(values, bases) {
  return values.slice(0, bases.length).map((value, i) => value / bases[i])
}

/** `0.72 (0.70–0.75)`: the middle, and the lowest and highest of all rounds. */
export function spread(values, digits = 2) {
  if (values.length === 0) return '–'
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits))
  return `${median(values).toFixed(digits)} (${low}–${high})`
}

/** A Markdown table; numbers should come as texts. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
