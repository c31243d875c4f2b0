/** A plot of wrong answers over the quota as SVG, readable on light and dark pages. */
const [WIDTH, HEIGHT] = [820, 420]
const BOX = { left: 64, right: 540, top: 24, bottom: 360 }
const COLORS = ['#0b6e4f', '#c0392b', '#d68910', '#5b6abf', '#7f8c8d']

/** `series`: `[{ name, points: [{ limit, wrong }] }]`, `wrong` from 0 to 1. */
export function plotWrong(series) {
  const limits = series[0].points.map(({ limit }) => limit)
  const [least, most] = [Math.log(Math.min(...limits)), Math.log(Math.max(...limits))]
  const x = (limit) => BOX.left + ((Math.log(limit) - least) / (most - least)) * (BOX.right - BOX.left)
  const y = (share) => BOX.bottom - share * (BOX.bottom - BOX.top)
  const shares = [0, 0.2, 0.4, 0.6, 0.8, 1]
  const grid = shares.map(
    (share) =>
      `<path class="grid" d="M${BOX.left} ${round(y(share))}H${BOX.right}"/>` +
      text(BOX.left - 8, y(share) + 4, `${Math.round(share * 100)} %`, 'end'),
  )
  const ticks = limits.map((limit) => text(x(limit), BOX.bottom + 20, limit.toLocaleString('en'), 'middle'))
  const labelled = series.map((_, i) => BOX.top + 40 + i * 24)
  const lines = series.map(({ name, points }, i) => {
    const color = COLORS[i % COLORS.length]
    const path = points.map(({ limit, wrong }) => `${round(x(limit))} ${round(y(wrong))}`).join('L')
    const dots = points.map(
      ({ limit, wrong }) => `<circle cx="${round(x(limit))}" cy="${round(y(wrong))}" r="3" fill="${color}"/>`,
    )
    const key = `<path stroke="${color}" stroke-width="2" d="M${BOX.right + 12} ${labelled[i]}h18"/>`
    const line = `<path fill="none" stroke="${color}" stroke-width="2" d="M${path}"/>`
    return `${line}${dots.join('')}${key}${text(BOX.right + 36, labelled[i] + 4, name, 'start')}`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Wrong answers over the quota">`,
    '<style>text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#8884}@media(prefers-color-scheme:dark){text{fill:#bbb}}</style>',
    ...grid,
    ...ticks,
    text((BOX.left + BOX.right) / 2, BOX.bottom + 44, 'quota: calls a day', 'middle'),
    text(BOX.left, BOX.top - 8, 'answers that differ from upstream', 'start'),
    ...lines,
    '</svg>',
    '',
  ].join('\n')
}

function text(x, y, content, anchor) {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${content}</text>`
}

function round(value) {
  return Math.round(value * 10) / 10
}
