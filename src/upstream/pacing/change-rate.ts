/** Before anything is known: one change an hour. */
const INITIAL_CHANGES = 1
const INITIAL_WATCHED_S = 3600
/** Above this, older observations count half. */
const MAX_CHANGES = 10_000

/** How often the answers of all stations change: changes found by calls over the time between those calls. */
export class ChangeRate {
  #changes = INITIAL_CHANGES
  #watchedS = INITIAL_WATCHED_S

  get perSecond(): number {
    return this.#changes / this.#watchedS
  }

  record(differs: boolean, gapS: number): void {
    if (differs) this.#changes++
    this.#watchedS += gapS
    if (this.#changes <= MAX_CHANGES) return
    this.#changes /= 2
    this.#watchedS /= 2
  }

  /** What {@link restore} takes. */
  learned(): readonly number[] {
    return [this.#changes, this.#watchedS]
  }

  /** Continues with what an earlier process has learned. Ignores what it cannot have. */
  restore([changes = 0, watchedS = 0]: readonly number[]): void {
    if (!(changes > 0 && changes <= MAX_CHANGES && watchedS > 0)) return
    this.#changes = changes
    this.#watchedS = watchedS
  }
}
