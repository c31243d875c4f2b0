/* Formats numbers, sizes and times for display: the browser's time zone, 24-hour clock. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const shortTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })

/** A whole number with separators. */
export const count = (value) => whole.format(value)

/** A rate per second, with two significant digits below 10. */
export function rate(perSecond) {
  if (perSecond === 0) return '0'
  if (perSecond < 0.01) return '<0.01'
  return perSecond < 10 ? perSecond.toFixed(perSecond < 1 ? 2 : 1) : whole.format(perSecond)
}

/**
 * A share from 0 to 1 as a percentage, `–` for null. 99.97 % is rounded down, because 100 % must mean all, and 0.01 % up,
 * because 0 % must mean none.
 */
export function percent(share) {
  if (share === null) return '–'
  const shown = share * 100
  if (shown > 99 && shown < 100) return `${(Math.floor(shown * 10) / 10).toFixed(1)} %`
  if (shown > 0 && shown < 1) return `${Math.max(0.1, shown).toFixed(1)} %`
  return `${Math.round(shown)} %`
}

/** A size in the units of the settings, which are powers of 1024. */
export function bytes(value) {
  const [size, unit] = [
    [2 ** 30, 'GB'],
    [2 ** 20, 'MB'],
    [2 ** 10, 'KB'],
  ].find(([size]) => value >= size) ?? [1, 'B']
  const number = value / size
  return `${size > 1 && number < 10 ? Number(number.toFixed(1)) : Math.round(number)} ${unit}`
}

/** A latency in ms or s, `–` for null. */
export function latency(ms) {
  if (ms === null) return '–'
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** A duration in its two largest units. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const units = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ]
  const first = units.findIndex(([size]) => seconds >= size)
  if (first === -1) return '0 s'
  const [size, unit] = units[first]
  const [nextSize, nextUnit] = units[first + 1] ?? [1, '']
  const rest = Math.floor((seconds % size) / nextSize)
  return `${Math.floor(seconds / size)} ${unit}${rest > 0 && nextUnit !== '' ? ` ${rest} ${nextUnit}` : ''}`
}

/** Whether the mean TTL is longer than CACHE_TTL by more than single stations make of it. */
export function isExtended({ effectiveTtlMs, ttlMs }) {
  return effectiveTtlMs > ttlMs * 1.05
}

/** `14:03:22`, preceded by the date unless it is today. */
export function moment(ms) {
  return withDay(ms, time)
}

export function minute(ms) {
  return withDay(ms, shortTime)
}

/** The time zone of all times shown, such as `Europe/Berlin (GMT+1)`. */
export function timeZone(now) {
  const { timeZone: name } = time.resolvedOptions()
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' }).formatToParts(now)
  const offset = parts.find(({ type }) => type === 'timeZoneName')?.value ?? ''
  return name === offset ? name : `${name} (${offset})`
}

/** `14:03`, for axes. */
export const clock = (ms) => shortTime.format(ms)

/** `22 Nov`, for axes. */
export const date = (ms) => day.format(ms)

function withDay(ms, format) {
  const today = new Date().toDateString() === new Date(ms).toDateString()
  return today ? format.format(ms) : `${day.format(ms)} ${format.format(ms)}`
}
