import type { Clock } from '../../lib/clock.ts'

/** What a state was like when it ended. */
export interface Lasted {
  readonly seconds: number
  /** How often it began. */
  readonly times: number
}

/** A state that begins again within this time goes on, instead of being a new one. */
export const QUIET_MS = 60_000

interface Episode {
  readonly since: number
  times: number
  endedAt: number
  /** Whether its end has been logged. */
  isReported: boolean
  /** Whether it has begun again after its end was logged: then the next end is logged after a quiet minute. */
  isRepeated: boolean
}

/**
 * A state that lasts, as two log lines: at its beginning, and at its end with its length and count. A state that flaps
 * has four, however often it does: the first two at once, then one when it begins again, and one when it has ended for a
 * minute.
 */
export class LastingState {
  readonly #clock: Pick<Clock, 'now' | 'after'>
  #episode: Episode | null = null
  #cancelEnd: (() => void) | null = null

  constructor(clock: Pick<Clock, 'now' | 'after'>) {
    this.#clock = clock
  }

  /** Calls `log` unless the state goes on. @returns whether a new state has begun */
  begin(log: () => void): boolean {
    const now = this.#clock.now()
    this.#cancelEnd?.()
    this.#cancelEnd = null
    const last = this.#episode
    if (last === null || (last.isReported && now - last.endedAt >= QUIET_MS)) {
      this.#episode = { since: now, times: 1, endedAt: now, isReported: false, isRepeated: false }
      log()
      return true
    }
    last.times++
    if (last.isReported) log()
    if (last.isReported) last.isRepeated = true
    last.isReported = false
    return false
  }

  /** Forgets the state, so that the next beginning is a new one. */
  reset(): void {
    this.#cancelEnd?.()
    this.#cancelEnd = null
    this.#episode = null
  }

  /** Calls `log` now or after a quiet minute. @returns whether the state had begun */
  end(log: (lasted: Lasted) => void): boolean {
    const episode = this.#episode
    if (episode === null || episode.isReported) return false
    episode.endedAt = this.#clock.now()
    const report = () => {
      episode.isReported = true
      log({ seconds: (episode.endedAt - episode.since) / 1_000, times: episode.times })
    }
    if (episode.isRepeated) this.#cancelEnd = this.#clock.after(QUIET_MS, report)
    else report()
    return true
  }
}
