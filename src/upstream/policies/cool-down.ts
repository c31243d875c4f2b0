import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import type { ErrorCode } from '../../errors.ts'
import { ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import { diagnose } from '../tomtom/diagnosis.ts'
import { UpstreamError, circuitOutcome } from '../outcomes.ts'

/** What upstream has told a replica. */
export interface SharedCoolDown {
  readonly code: ErrorCode
  readonly status: number | undefined
  readonly diagnosis: string
  /** Cool-downs in a row. */
  readonly times: number
  readonly waitMs: number
}

/** Replicas tell each other of refusals; keys themselves are not told. Null and false, too, while nothing can be known. */
export interface CoolDownStore {
  /** What a replica was told of this key, if that is to be waited for. */
  get(key: string): Promise<SharedCoolDown | null>
  set(key: string, refusal: SharedCoolDown): void
  /** Upstream has accepted the key. */
  clear(key: string): void
  /** Whether another replica's call is out to see; if not, this one's is. */
  isProbed(key: string): Promise<boolean>
  /** This replica's call is back. */
  releaseProbe(key: string): void
}

export interface CoolDownDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'upstreamRejected' | 'upstreamRecovered'>
  /** The key in force: a changed one ends the cool-down. */
  readonly apiKey: () => string
  /** Null when every replica finds out by itself. */
  readonly store?: CoolDownStore | null
}

/** Without a Retry-After: the first time, doubling to the longest while upstream refuses. */
const FIRST_MS = 5_000
const LONGEST_MS = 60_000
/** What those are told who come while one call is out to see. */
const SHORTEST_MS = 1_000

/** Upstream refused our last call. */
interface Refused {
  readonly code: ErrorCode
  readonly key: string
  readonly diagnosis: string
  readonly since: number
  /** No call before this. */
  readonly until: number
  /** Cool-downs in a row. */
  readonly times: number
}

/**
 * After a 429, 401 or 403 nothing is sent for a while: it concerns every station, and going on would make it
 * worse. Then one call goes out to see, and the others are held back until it is over. A new key is given its
 * chance at once.
 */
export function withCoolDown(
  inner: Source,
  { clock, observer, apiKey, store: refusals = null }: CoolDownDeps,
): Source {
  let refused: Refused | null = null
  let probing = false
  /** The key that upstream has accepted before: a refusal of it hardly means that it is wrong. */
  let provenKey: string | null = null

  /** @throws ServiceError while calls are held back */
  const admit = (key: string): 'call' | 'probe' => {
    if (refused !== null && refused.key !== key) refused = null
    if (refused === null) return 'call'
    if (clock.now() < refused.until) throw heldBack(refused.code, refused.until - clock.now())
    if (probing) throw heldBack(refused.code, SHORTEST_MS)
    probing = true
    return 'probe'
  }

  /** As `admit`, after and before a word with the other replicas. */
  const admitAmong = async (others: CoolDownStore, key: string): Promise<'call' | 'probe'> => {
    hear(key, await others.get(key))
    const role = admit(key)
    if (role === 'call' || !(await others.isProbed(key))) return role
    probing = false
    throw heldBack(refused?.code ?? 'UpstreamRefused', SHORTEST_MS)
  }

  /** Another replica was refused: that counts as if it had been this one. */
  const hear = (key: string, told: SharedCoolDown | null) => {
    const now = clock.now()
    if (told === null || (refused?.key === key && refused.until > now)) return
    const { code, status, diagnosis, times, waitMs } = told
    const isNews = refused?.diagnosis !== diagnosis
    refused = { code, key, diagnosis, since: now, until: now + waitMs, times }
    if (isNews) observer.upstreamRejected({ status, diagnosis, waitMs })
  }

  const accepted = (key: string, startedAt: number) => {
    provenKey = key
    if (refused?.key !== key || startedAt <= refused.since) return // it was let in before the refusal
    refused = null
    refusals?.clear(key)
    observer.upstreamRecovered()
  }

  /** How long calls are held back from now on. */
  const refusedBy = (error: UpstreamError, key: string, startedAt: number): number => {
    const before = refused?.key === key ? refused : null
    // Calls that were under way together are refused together: that is one cool-down, not several.
    const times = before === null ? 1 : before.times + (startedAt > before.since ? 1 : 0)
    const ownMs = error.retryAfterMs ?? Math.min(FIRST_MS * 2 ** (times - 1), LONGEST_MS)
    if (key !== apiKey()) return ownMs
    const diagnosis = diagnose(error, provenKey === key)
    const since = clock.now()
    const waitMs = Math.max(ownMs, (before?.until ?? 0) - since) // the longest of what they were told holds
    refused = { code: error.code, key, diagnosis, since, until: since + waitMs, times }
    const status = error.upstreamStatus
    refusals?.set(key, { code: error.code, status, diagnosis, times, waitMs })
    if (before?.diagnosis !== diagnosis) observer.upstreamRejected({ status, diagnosis, waitMs })
    return waitMs
  }

  return async (id, call) => {
    const key = apiKey()
    const role = refusals === null ? admit(key) : await admitAmong(refusals, key)
    const startedAt = clock.now()
    try {
      const availability = await inner(id, role === 'probe' ? { ...call, isProbe: true } : call)
      accepted(key, startedAt)
      return availability
    } catch (error) {
      if (isRefusal(error)) throw heldBack(error.code, refusedBy(error, key, startedAt), error)
      if (circuitOutcome(error) === 'alive') accepted(key, startedAt)
      throw error
    } finally {
      if (role === 'probe') {
        probing = false
        refusals?.releaseProbe(key)
      }
    }
  }
}

function isRefusal(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && (error.outcome === 'throttled' || error.outcome === 'refused')
}

function heldBack(code: ErrorCode, retryAfterMs: number, cause?: UpstreamError): ServiceError {
  const reason =
    cause === undefined ? 'no call is made until upstream can be expected to accept one' : cause.reason
  return new ServiceError(code, { retryAfterMs, ...(reason !== undefined && { reason }) })
}
