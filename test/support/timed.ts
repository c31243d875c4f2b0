/*
 * Durations on a machine that does other things as well. A bound of what a service in this process may take is checked
 * against the time in which the process ran or waited for an event, without the time in which it was ready to run and
 * other processes ran. A service that computes for too long is still too slow.
 */

export interface Timed<T> {
  readonly answer: T
  /** By the clock. */
  readonly ms: number
  /** Without the time in which other processes had the processor. */
  readonly activeMs: number
}

const TICK_MS = 5
/** A timer that is later has not been run, as another process or this one was busy. */
const MAX_LATE_MS = 5

let ticking = 0
let timer: NodeJS.Timeout | null = null
let last = { at: 0, cpuMs: 0, activeMs: 0 }

/** CPU time of this process, in ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function tick(): void {
  const [at, cpu] = [performance.now(), cpuMs()]
  const gapMs = at - last.at
  const ranMs = gapMs <= TICK_MS + MAX_LATE_MS ? gapMs : Math.min(gapMs, Math.max(TICK_MS, cpu - last.cpuMs))
  last = { at, cpuMs: cpu, activeMs: last.activeMs + ranMs }
}

/** Active time so far, in ms, while something is timed. */
export function activeNow(): number {
  tick()
  return last.activeMs
}

/** Counts active time until the returned function is called. */
export function countActiveTime(): () => void {
  if (ticking++ === 0) {
    last = { at: performance.now(), cpuMs: cpuMs(), activeMs: 0 }
    timer = setInterval(tick, TICK_MS)
  }
  return () => {
    if (--ticking === 0 && timer !== null) clearInterval(timer)
  }
}

export async function timed<T>(work: Promise<T>): Promise<Timed<T>> {
  const end = countActiveTime()
  const [startedAt, activeAtStart] = [performance.now(), activeNow()]
  try {
    const answer = await work
    return { answer, ms: performance.now() - startedAt, activeMs: activeNow() - activeAtStart }
  } finally {
    end()
  }
}
