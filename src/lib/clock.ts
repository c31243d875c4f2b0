/** Injected time, so that tests do not wait. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start: for ages, TTLs and deadlines. */
  now(): number
  /** Milliseconds since the Unix epoch: for calendars and headers only, since it may jump. */
  wall(): number
  /** Runs `callback` once after `ms` and returns the function that cancels it. Does not keep the process alive. */
  after(ms: number, callback: () => void): () => void
}

/** Resolves after `ms`. */
export function pause(clock: Pick<Clock, 'after'>, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve))
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms)
    timer.unref()
    return () => {
      clearTimeout(timer)
    }
  },
}
