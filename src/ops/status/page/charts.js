import { byId, setText } from './dom.js'
import { count, minute, percent } from './format.js'
import { QuotaPlot } from './quota-plot.js'
import { StackedPlot } from './stacked-plot.js'

/** From the bottom of the stack to its top, so that errors are on top. */
const REQUESTS = [
  ['hit', 'hit', 'a fresh cached answer'],
  ['stale', 'stale', 'a stale cached answer, refreshed in the background'],
  ['coalesced', 'coalesced', 'waited for a call that was already in flight'],
  ['miss', 'miss', 'waited for a call that it started'],
  ['other', 'other', 'no station requested: health check, API description, preflight'],
  ['client_error', 'client error', 'an invalid request, or an id that upstream does not know'],
  ['stale_error', 'stale on error', 'a stale cached answer instead of an error'],
  ['error', 'error', 'an error response other than a client error'],
]
const CALLS = [
  ['answered', 'answered', 'an answer about the station'],
  ['refused', 'rejected', 'throttled, or the API key was rejected'],
  ['failed', 'failed', 'an error, a timeout or an invalid answer'],
]

/** The selectable time spans: the size of a bar in seconds, and the number of bars. */
const SPANS = { seconds: { size: 5, bars: 120 }, minutes: { size: 60, bars: 60 } }

/** The three plots: requests by result, calls to upstream, and the quota. */
export class Charts {
  #requests = plot('requests', { unit: 'requests / s', kinds: REQUESTS, hasLimit: false })
  #calls = plot('calls', { unit: 'calls / s', kinds: CALLS, hasLimit: true })
  #quota = new QuotaPlot(byId('quota-plot'), byId('quota-legend'))
  /** Calls left at the end of each part of the period. */
  #points = new Map()

  clear() {
    this.#points.clear()
  }

  show({ upstream, quota, now }, aggregates) {
    const span = SPANS[document.querySelector('[name=span]:checked').value]
    this.#requests(aggregates, span, null)
    this.#calls(aggregates, span, upstream.callsPerSecond)
    byId('quota').hidden = quota === null
    if (quota !== null) this.#showQuota(quota, now, upstream.refusal !== null)
  }

  #showQuota(quota, now, isRejected) {
    const { limit, remaining, resetAt, points, forecast } = quota
    for (const [part, left] of points) this.#points.set(part, left)
    this.#quota.show({ ...quota, points: [...this.#points] }, now)
    setText(byId('quota-left'), `${count(remaining)} of ${count(limit)} left, reset at ${minute(resetAt)}`)
    setText(byId('quota-correct'), correct(forecast))
    setText(byId('quota-projection'), expected(forecast, isRejected))
    setText(byId('quota-unknown-ids'), unknownIds(forecast))
  }
}

/** Creates a stacked plot and returns the function that updates it. */
function plot(group, { unit, kinds, hasLimit }) {
  const names = kinds.map(([kind]) => `${group}.${kind}`)
  const parts = kinds.map(([kind, name, meaning]) => ({ name, meaning, colour: `--c-${kind}` }))
  const stackedPlot = new StackedPlot(byId(`${group}-plot`), byId(`${group}-legend`), {
    unit,
    parts,
    hasLimit,
  })
  return (aggregates, span, limit) => {
    const now = names.map((name) => aggregates.meanOf(name))
    stackedPlot.show(aggregates.bars(names, span.size), { ...span, limit, now })
  }
}

/** While upstream rejects calls, what this service has counted may not be what is left. */
function expected(forecast, isRejected) {
  if (isRejected) return 'Upstream rejects calls: what is left by this count may not be available.'
  if (forecast === null) return ''
  const { projectedRemaining, isProjected, isRationing } = forecast
  if (isRationing) return 'Calls are rationed: they are released evenly up to the reset.'
  if (!isProjected) return 'What will be left at the reset is known after ten minutes of requests.'
  return `Pacing expects ${count(projectedRemaining)} calls to be left at the reset.`
}

function correct(forecast) {
  const ratio = forecast?.estimatedCorrectRatio ?? null
  if (ratio === null) return 'No answers in the last five minutes'
  return `${percent(ratio)} of the answers of the last five minutes are expected to be still correct`
}

function unknownIds(forecast) {
  if (forecast === null) return ''
  const left = Math.floor(forecast.unknownIdsRemaining)
  if (left > 0) return `Unknown ids: ${count(left)} calls may still find no station.`
  return 'Unknown ids: the allowance is used up, ids that were never answered get 503 until it is refilled.'
}
