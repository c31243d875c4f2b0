import { Series } from './series.js'

const MINUTE = 60
const TEN_MINUTES = 600

/** What the history tells, collected report by report, and the numbers that are made of it. */
export class Figures {
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

  /** Requests of the last minute, all of them and by kind. */
  lastMinute() {
    const kinds = this.#columns.filter((name) => name.startsWith('requests.'))
    const byKind = kinds.map((name) => [name.slice('requests.'.length), this.#sum([name], MINUTE)])
    return { all: this.#sum(kinds, MINUTE), ...Object.fromEntries(byKind) }
  }

  /** Requests and calls a second over the last minute; the share answered from memory over ten, null without any. */
  recent() {
    const held = this.#sum(['requests.hit', 'requests.stale', 'requests.stale_error'], TEN_MINUTES)
    const rest = this.#sum(['requests.coalesced', 'requests.miss', 'requests.error'], TEN_MINUTES)
    return {
      requests: this.#mean(this.#columns.filter((name) => name.startsWith('requests.'))),
      calls: this.#mean(this.#columns.filter((name) => name.startsWith('calls.'))),
      heldRatio: held + rest === 0 ? null : held / (held + rest),
    }
  }

  /** A column's mean a second over the last minute. */
  meanOf(name) {
    return this.#mean([name])
  }

  /**
   * Means a second of the columns named, in bars of `size` seconds: when each bar starts, and when what is known
   * ends, in seconds since the epoch. Bars of a minute come from the history by the minute.
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
