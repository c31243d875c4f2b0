import type { Dispatcher } from 'undici'
import type { Clock } from '../../lib/clock.ts'

/** So many broken connections within this time are taken for the way of upstream with kept connections. */
const BREAKS = 2
const WITHIN_MS = 60_000
/** How long every call then has a connection of its own. */
const FRESH_FOR_MS = 60_000

/** The dispatcher of each call. */
export interface Connections {
  readonly current: () => Dispatcher
  /** The connection of a call broke. */
  readonly broke: () => void
}

/**
 * Kept connections, or after a few that broke a new one for each call, for a while: some upstreams and the proxies in
 * front of them reset a connection at its second use. `fresh` is created only when it is needed.
 */
export function createConnections(
  kept: Dispatcher,
  fresh: () => Dispatcher,
  clock: Pick<Clock, 'now'>,
): Connections {
  let breaks: readonly number[] = []
  let freshUntil = Number.NEGATIVE_INFINITY
  return {
    current: () => (clock.now() < freshUntil ? fresh() : kept),
    broke: () => {
      const now = clock.now()
      breaks = [...breaks, now].slice(-BREAKS)
      if (breaks.length === BREAKS && now - (breaks[0] as number) <= WITHIN_MS)
        freshUntil = now + FRESH_FOR_MS
    },
  }
}
