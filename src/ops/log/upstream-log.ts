import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import type { Observer, UpstreamRejection } from '../../events.ts'
import { LastingState } from './lasting-state.ts'

/** Logs the circuit breaker and rejections by upstream: each a state that lasts, with what it did to calls and answers. */
export function createUpstreamLog(log: Logger, clock: Pick<Clock, 'now' | 'after'>): Partial<Observer> {
  const effects = new Effects()
  return {
    ...effects.observer,
    ...circuitLog(log, clock, effects),
    ...rejectionLog(log, clock, effects),
  }
}

interface Counts {
  readonly circuit: number
  readonly coolDown: number
  readonly staleAnswers: number
}

/** Counts the calls that are not made and the stale answers that replace errors, since the start. */
class Effects {
  #counts: Counts = { circuit: 0, coolDown: 0, staleAnswers: 0 }

  readonly observer: Partial<Observer> = {
    upstreamHeldBack: (by) => {
      const { circuit, coolDown } = this.#counts
      if (by === 'circuit') this.#counts = { ...this.#counts, circuit: circuit + 1 }
      if (by === 'cool_down') this.#counts = { ...this.#counts, coolDown: coolDown + 1 }
    },
    lookedUp: (result) => {
      if (result !== 'stale_error') return
      this.#counts = { ...this.#counts, staleAnswers: this.#counts.staleAnswers + 1 }
    },
  }

  get counts(): Counts {
    return this.#counts
  }

  /** The fields of the line at the end of a state that began with these counts. */
  since(before: Counts, cause: 'circuit' | 'coolDown') {
    return {
      callsNotMade: this.#counts[cause] - before[cause],
      staleAnswers: this.#counts.staleAnswers - before.staleAnswers,
    }
  }
}

function circuitLog(log: Logger, clock: Pick<Clock, 'now' | 'after'>, effects: Effects): Partial<Observer> {
  const outage = new LastingState(clock)
  let before = effects.counts
  let isClosed = true
  return {
    circuitChanged: (state, { lastError: reason } = {}) => {
      if (state === 'closed') {
        outage.end(({ seconds, times }) => {
          const line = { state, 'state.duration': seconds, times, ...effects.since(before, 'circuit') }
          log.info(line, 'circuit breaker closed')
        })
      } else if (isClosed) {
        const isNew = outage.begin(() => log.warn({ state, reason }, 'circuit breaker opened'))
        if (isNew) before = effects.counts
      } else log.debug({ state, reason }, 'circuit breaker changed state')
      isClosed = state === 'closed'
    },
  }
}

function rejectionLog(log: Logger, clock: Pick<Clock, 'now' | 'after'>, effects: Effects): Partial<Observer> {
  const rejection = new LastingState(clock)
  let before = effects.counts
  let rejections = 0
  let diagnoses = new Set<string>()
  const logRejection = ({ status, diagnosis, waitMs }: UpstreamRejection) => {
    diagnoses.add(diagnosis)
    const line = { status, diagnosis, waitMs }
    log.error(line, 'upstream rejected the API key or throttled it')
  }
  return {
    upstreamRejected: (rejected) => {
      let isLogged = false
      const isNew = rejection.begin(() => (isLogged = true))
      if (isNew) [before, rejections, diagnoses] = [effects.counts, 0, new Set()]
      if (isLogged || !diagnoses.has(rejected.diagnosis)) logRejection(rejected)
    },
    coolDownStarted: () => void rejections++,
    keyRotated: () => rejection.reset(), // upstream has not rejected the new key yet
    upstreamRecovered: () => {
      rejection.end(({ seconds }) => {
        const line = { 'state.duration': seconds, rejections, ...effects.since(before, 'coolDown') }
        log.info(line, 'upstream accepts calls again')
      })
    },
  }
}
