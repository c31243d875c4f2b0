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

/**
 * Resolves when the call may be sent by what all replicas have sent, and must be sent. After `maxWaitMs`, or while the
 * store cannot be reached, the replica's own check alone applies.
 */
export async function passStoreGate(
  gate: StoreGate,
  clock: Pick<Clock, 'now' | 'after'>,
  maxWaitMs = Number.POSITIVE_INFINITY,
): Promise<SentCall> {
  const startedAt = clock.now()
  let passed = await gate.ask()
  while (passed !== undefined && passed.waitMs > 0) {
    const { waitMs } = passed
    await pause(clock, waitMs)
    passed = clock.now() - startedAt > maxWaitMs ? undefined : await gate.ask()
  }
  const [number, sentAt] = [passed?.number, clock.now()]
  const arrived = () => {
    if (number !== undefined && clock.now() - sentAt > LATE_MS) gate.arrived(number)
  }
  return { arrived }
}
