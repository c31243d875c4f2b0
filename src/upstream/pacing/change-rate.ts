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
}
