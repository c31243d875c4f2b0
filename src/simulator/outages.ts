import type { Outcome } from './fault-document.ts'

const MAX_OUTAGE_MS = 5_000

/**
 * Recurring outages: the last quarter of every period, at most 5 s of it, so that the start of a period is always healthy.
 * Without a period (0) there are none. The returned function gives the outcome at a time, or null outside of an outage.
 */
export function createOutages(periodMs: number, startedAtMs: number): (nowMs: number) => Outcome | null {
  const lastsMs = Math.min(MAX_OUTAGE_MS, periodMs / 4)
  return (nowMs) => {
    const fails = periodMs > 0 && (nowMs - startedAtMs) % periodMs >= periodMs - lastsMs
    return fails ? { outcome: 'status', body: 'NoHealthyUpstream' } : null
  }
}
