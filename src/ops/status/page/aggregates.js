import { Series } from './series.js'

const MINUTE = 60
const TEN_MINUTES = 600

/** The history, collected from successive reports, and the sums, means and ratios computed from it. */
export class Aggregates {
  #seconds = new Series(TEN_MINUTES)
  #minutes = new Series(MINUTE)
  #columns = []

  add({ columns, seconds, minutes }) {
    this.#columns = columns
    this.#seconds.add(seconds)
    this.#minutes.add(minutes)
  }

  clear() {
    this.#seconds.clear()
    this.#minutes.clear()
  }

  /** Numbers of requests in the last minute: `all`, and one by kind. */
  lastMinute() {
    const kinds = this.#columns.filter((name) => name.startsWith('requests.'))
    const byKind = kinds.map((name) => [name.slice('requests.'.length), this.#sum([name], MINUTE)])
    return { all: this.#sum(kinds, MINUTE), ...Object.fromEntries(byKind) }
  }

  /**
   * Requests and calls per second over the last minute, and the cache hit ratio over ten minutes, stale answers
   * included; null without lookups.
   */
  recent() {
    const cached = this.#sum(['requests.hit', 'requests.stale', 'requests.stale_error'], TEN_MINUTES)
    const waited = this.#sum(['requests.coalesced', 'requests.miss', 'requests.error'], TEN_MINUTES)
    return {
      requests: this.#mean(this.#columns.filter((name) => name.startsWith('requests.'))),
      calls: this.#mean(this.#columns.filter((name) => name.startsWith('calls.'))),
      hitRatio: cached + waited === 0 ? null : cached / (cached + waited),
    }
  }

  /** Mean per second of a column over the last minute. */
  meanOf(name) {
    return this.#mean([name])
  }

  /**
   * Means per second of the named columns, in bars of `size` seconds. `starts` and `end`, the end of the collected
   * history, are in seconds since the epoch. Bars of a minute are made from the history by the minute.
   */
  bars(names, size) {
    const perSlot = size < MINUTE ? 1 : MINUTE
    const series = perSlot === 1 ? this.#seconds : this.#minutes
    const { starts, means } = series.binned(this.#indexes(names), size / perSlot)
    return {
      starts: starts.map((slot) => slot * perSlot),
      means: means.map((sums) => sums.map((sum) => sum / perSlot)),
      end: this.#seconds.end,
    }
  }

  #mean(names) {
    const { sum, rows } = this.#seconds.recent(this.#indexes(names), MINUTE)
    return rows === 0 ? 0 : sum / rows
  }

  #sum(names, seconds) {
    return this.#seconds.recent(this.#indexes(names), seconds).sum
  }

  #indexes(names) {
    return names.map((name) => this.#columns.indexOf(name))
  }
}
