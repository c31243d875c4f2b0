import type { ErrorCode } from '../../errors.ts'
import { ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import { backoffMs } from '../../lib/backoff.ts'
import type { Clock } from '../../lib/clock.ts'

/** How a call may go out: `probe` is the single call that tests a key after its cool-down. */
export type Admission = 'call' | 'probe'

/** A call that upstream rejected. */
export interface Rejection {
  readonly code: ErrorCode
  readonly status: number | undefined
  /** The likely cause, for the operator. */
  readonly diagnosis: string
  /** Upstream's own Retry-After, in ms. */
  readonly retryAfterMs: number | undefined
  /** When the call began, on the monotonic clock. */
  readonly startedAt: number
}

/** A cool-down in force, as replicas share it. */
export interface SharedCoolDown {
  readonly code: ErrorCode
  readonly status: number | undefined
  readonly diagnosis: string
  /** Cool-downs in a row. */
  readonly times: number
  readonly waitMs: number
}

/** Whether calls may be sent with an API key, after upstream rejected or throttled it. */
export interface CoolDownState {
  /** @throws ServiceError, also as a rejection, while calls with this key are delayed */
  admit(key: string): Admission | Promise<Admission>
  /** Starts or extends a cool-down; the ms for which calls are delayed from now on. */
  reject(key: string, rejection: Rejection): number
  /** Upstream accepted a call with this key that began at `startedAt`, which ends a cool-down that began before. */
  accept(key: string, startedAt: number): void
  /** The probe has ended, however it did: the next call may be one. */
  endProbe(key: string): void
}

export interface CoolDownDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<
    Observer,
    'upstreamRejected' | 'upstreamRecovered' | 'coolDownStarted' | 'upstreamHeldBack'
  >
}

/** Without a Retry-After: doubles with each cool-down in a row. */
export const INITIAL_COOL_DOWN_MS = 5_000
const MAX_COOL_DOWN_MS = 60_000
/** Retry-After while a probe is in flight. */
const PROBE_RETRY_AFTER_MS = 1_000

interface CoolDown extends Omit<SharedCoolDown, 'waitMs'> {
  readonly key: string
  readonly since: number
  /** No call before this. */
  readonly until: number
}

/** The cool-down of one replica. A call with another key ends it: a changed key may be accepted at once. */
export class LocalCoolDown implements CoolDownState {
  readonly #clock: CoolDownDeps['clock']
  readonly #observer: CoolDownDeps['observer']
  #current: CoolDown | null = null
  #probing = false

  constructor({ clock, observer }: CoolDownDeps) {
    this.#clock = clock
    this.#observer = observer
  }

  admit(key: string): Admission {
    if (this.#current !== null && this.#current.key !== key) this.#current = null
    if (this.#current === null) return 'call'
    const { code, until } = this.#current
    const leftMs = until - this.#clock.now()
    if (leftMs > 0) throw this.#heldBack(code, leftMs)
    if (this.#probing) throw this.#heldBack(code, PROBE_RETRY_AFTER_MS)
    this.#probing = true
    return 'probe'
  }

  reject(key: string, rejection: Rejection): number {
    return this.apply(key, rejection).waitMs
  }

  /** As {@link reject}, with the resulting cool-down. */
  apply(key: string, { code, status, diagnosis, retryAfterMs, startedAt }: Rejection): SharedCoolDown {
    const before = this.#current?.key === key ? this.#current : null
    // Calls that were in flight together and are rejected together are one cool-down, not several.
    const times = before === null ? 1 : before.times + (startedAt > before.since ? 1 : 0)
    const ownMs = retryAfterMs ?? backoffMs(INITIAL_COOL_DOWN_MS, MAX_COOL_DOWN_MS, times)
    const since = this.#clock.now()
    const waitMs = Math.max(ownMs, (before?.until ?? 0) - since) // a shorter Retry-After does not end a longer one
    this.#current = { code, key, status, diagnosis, since, until: since + waitMs, times }
    if (before?.diagnosis !== diagnosis) this.#observer.upstreamRejected({ status, diagnosis, waitMs })
    this.#observer.coolDownStarted(waitMs)
    return { code, status, diagnosis, times, waitMs }
  }

  /** Takes over another replica's cool-down, unless one is in force here. */
  applyPeer(key: string, { waitMs, ...coolDown }: SharedCoolDown): void {
    const now = this.#clock.now()
    if (this.#current?.key === key && this.#current.until > now) return
    const isNews = this.#current?.diagnosis !== coolDown.diagnosis
    this.#current = { ...coolDown, key, since: now, until: now + waitMs }
    const { status, diagnosis } = coolDown
    if (isNews) this.#observer.upstreamRejected({ status, diagnosis, waitMs })
    this.#observer.coolDownStarted(waitMs)
  }

  /** @returns whether that ended a cool-down */
  accept(key: string, startedAt: number): boolean {
    if (this.#current?.key !== key || startedAt <= this.#current.since) return false
    this.#current = null
    this.#observer.upstreamRecovered()
    return true
  }

  endProbe(): void {
    this.#probing = false
  }

  #heldBack(code: ErrorCode, retryAfterMs: number): ServiceError {
    this.#observer.upstreamHeldBack('cool_down')
    return new ServiceError(code, { reason: 'calls are paused after upstream rejected one', retryAfterMs })
  }

  /** The error for a call that must wait for another replica's probe. */
  delayedByProbe(): ServiceError {
    return this.#heldBack(this.#current?.code ?? 'UpstreamRefused', PROBE_RETRY_AFTER_MS)
  }
}
