/** Time, injected: what is measured with it can be tested without waiting. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start: for ages, TTLs and deadlines. */
  now(): number
  /** Milliseconds since the Unix epoch: for calendars and headers alone, for it may jump. */
  wall(): number
  /** Runs `callback` once after `ms`; the function returned calls it off. Holds no process open. */
  after(ms: number, callback: () => void): () => void
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
