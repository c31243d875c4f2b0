import type { Clock } from '../lib/clock.ts'

export interface SoftTimeout {
  readonly clock: Pick<Clock, 'after'>
  readonly ms: number
  /** Whether a stale entry may be served instead of what is awaited. */
  readonly mayServe: () => boolean
}

/** What is awaited; null if it takes longer than the soft timeout and a stale entry may be served instead. */
export function orSoftTimeout<T>(
  awaited: Promise<T>,
  { clock, ms, mayServe }: SoftTimeout,
): Promise<T | null> {
  if (!mayServe()) return awaited
  return new Promise((resolve, reject) => {
    const stopWaiting = clock.after(ms, () => {
      if (mayServe()) resolve(null)
    })
    awaited.finally(stopWaiting).then(resolve, reject)
  })
}
