import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/clock.ts'
import type { SentCall } from './sent-call.ts'

/** What a store replies to a call that is to be sent. */
export interface GateReply {
  /** Identifies the call. */
  readonly number: number
  /** Until a call may be sent, in ms; 0: this one may, and counts as sent. */
  readonly waitMs: number
}

/** The check of a store on what all replicas have really sent. Nothing here rejects. */
export interface StoreGate {
  /** Undefined while the store cannot be reached. */
  ask(): Promise<GateReply | undefined>
  /** The call with this number has arrived at upstream. */
  arrived(number: number): void
}

/** A call that arrives this much later than it was sent may arrive too close to the one that reuses its token. */
const LATE_MS = 5

/** A permission that is older may have been granted before a pause of this process; so many are returned unused. */
const STALE_MS = 50
const MAX_STALE = 3

/**
 * Resolves when the call may be sent by what all replicas have sent, and must be sent; with null after `maxWaitMs`, or if
 * the store cannot be reached: then the replica's own check alone applies.
 */
export async function passStoreGate(
  gate: StoreGate,
  clock: Pick<Clock, 'now' | 'after'>,
  maxWaitMs = Number.POSITIVE_INFINITY,
): Promise<SentCall | null> {
  const startedAt = clock.now()
  let stale = 0
  for (;;) {
    const askedAt = clock.now()
    const reply = askedAt - startedAt > maxWaitMs ? undefined : await gate.ask()
    if (reply === undefined) return null
    if (reply.waitMs > 0) await pause(clock, reply.waitMs)
    else if (clock.now() - askedAt <= STALE_MS || stale++ >= MAX_STALE)
      return sentNow(gate, reply.number, clock)
  }
}

function sentNow(gate: StoreGate, number: number, clock: Pick<Clock, 'now'>): SentCall {
  const sentAt = clock.now()
  return {
    arrived: () => {
      if (clock.now() - sentAt > LATE_MS) gate.arrived(number)
    },
  }
}
