import { byId, setText } from './dom.js'
import { count, minute } from './format.js'
import { QuotaPlot } from './quota-plot.js'
import { StackedPlot } from './stacked-plot.js'

/** From the bottom of the stack to its top: what is good is below, trouble is on top. */
const REQUESTS = [
  ['hit', 'hit', 'fresh from memory'],
  ['stale', 'stale', 'old from memory, while it is refreshed'],
  ['coalesced', 'coalesced', 'joined a call that was under way'],
  ['miss', 'miss', 'waited for a call of its own'],
  ['other', 'other', 'asked for no station: health, description, preflight'],
  ['client_error', 'client error', 'refused for what the client sent, or an id that upstream does not know'],
  ['stale_error', 'stale on error', 'old from memory, in place of an error'],
  ['error', 'error', 'failed'],
]
const CALLS = [
  ['answered', 'answered', 'an answer about the station'],
  ['refused', 'refused', 'throttled, or the key was not accepted'],
  ['failed', 'failed', 'an error, no answer in time, or no sense in it'],
]

/** What can be chosen: the size of a bar in seconds, and how many there are. */
const SPANS = { seconds: { size: 5, bars: 120 }, minutes: { size: 60, bars: 60 } }

/** The three plots: requests by result, calls to upstream, and the quota. */
export class Charts {
  #requests = plot('requests', { unit: 'requests / s', kinds: REQUESTS, hasLimit: false })
  #calls = plot('calls', { unit: 'calls / s', kinds: CALLS, hasLimit: true })
  #quota = new QuotaPlot(byId('quota-plot'), byId('quota-legend'))
  /** What was left at the end of each part of the period. */
  #points = new Map()

  clear() {
    this.#points.clear()
  }

  show({ upstream, quota, now }, figures) {
    const span = SPANS[document.querySelector('[name=span]:checked').value]
    this.#requests(figures, span, null)
    this.#calls(figures, span, upstream.callsPerSecond)
    byId('quota').hidden = quota === null
    if (quota !== null) this.#showQuota(quota, now)
  }

  #showQuota(quota, now) {
    const { limit, remaining, resetAt, points, projection } = quota
    for (const [part, left] of points) this.#points.set(part, left)
    this.#quota.show({ ...quota, points: [...this.#points] }, now)
    setText(byId('quota-left'), `${count(remaining)} of ${count(limit)} left, reset at ${minute(resetAt)}`)
    setText(byId('quota-projection'), projected(projection, resetAt))
  }
}

/** A stacked plot of the page, as a function that shows figures in it. */
function plot(group, { unit, kinds, hasLimit }) {
  const names = kinds.map(([kind]) => `${group}.${kind}`)
  const parts = kinds.map(([kind, name, meaning]) => ({ name, meaning, colour: `--c-${kind}` }))
  const made = new StackedPlot(byId(`${group}-plot`), byId(`${group}-legend`), { unit, parts, hasLimit })
  return (figures, span, limit) => {
    const now = names.map((name) => figures.meanOf(name))
    made.show(figures.bars(names, span.size), { ...span, limit, now })
  }
}

function projected(projection, resetAt) {
  if (projection === null) return 'Too early to say how long it lasts.'
  const { perHour, remainingAtReset, spentAtMs } = projection
  const rate = `At ${count(perHour)} calls an hour`
  return spentAtMs === null
    ? `${rate}, ${count(remainingAtReset)} are left at the reset.`
    : `${rate} it is spent by ${minute(spentAtMs)}, ${count(-remainingAtReset)} calls short of the reset at ${minute(resetAt)}.`
}
