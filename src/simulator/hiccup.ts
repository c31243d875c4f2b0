import type { Outcome } from './fault-document.ts'

const LONGEST_MS = 5_000

/**
 * Tells at a time (ms) whether upstream hiccups then: it fails in the last part of every period, a quarter of it
 * but at most 5 s, so that it always begins well. A period of 0 has none.
 */
export function hiccups(periodMs: number, startedAtMs: number): (nowMs: number) => Outcome | null {
  const lastsMs = Math.min(LONGEST_MS, periodMs / 4)
  return (nowMs) => {
    const fails = periodMs > 0 && (nowMs - startedAtMs) % periodMs >= periodMs - lastsMs
    return fails ? { outcome: 'status', body: 'NoHealthyUpstream' } : null
  }
}
