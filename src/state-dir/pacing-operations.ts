import type { UnknownIdCharge } from '../upstream/pacing/unknown-id-allowance.ts'
import type { Context } from './operation.ts'
import { MAX_AHEAD_MS } from './operation.ts'

const PRICE = 'price'
const LEARNED = 'pacing'
const UNKNOWN_IDS = 'unknown-ids'
/** A price older than this is of a process that is gone. */
const PRICE_TTL_MS = 60_000

interface Price {
  readonly thetaS: number
  readonly by: string
  readonly at: number
}

interface Balance {
  readonly calls: number
  readonly at: number
}

/** Stores the price of a process; returns the latest of another one, null if there is none. */
export function exchangePrice({ db, now }: Context, thetaS: number, by: string): number | null {
  const latest = db.records.get(PRICE) as Price | undefined
  db.records.putSync(PRICE, { thetaS, by, at: now } satisfies Price)
  const isOther = latest !== undefined && latest.by !== by && Number.isFinite(latest.thetaS)
  const isNew = isOther && latest.at > now - PRICE_TTL_MS && latest.at <= now + MAX_AHEAD_MS
  return isNew ? latest.thetaS : null
}

/** Null if nothing is stored. */
export function loadLearned({ db }: Context): unknown {
  return db.records.get(LEARNED) ?? null
}

export function saveLearned({ db }: Context, learned: unknown): void {
  db.records.putSync(LEARNED, learned)
}

/** Charges calls to the allowance for unknown ids; what is left of it. The rules of UnknownIdAllowance. */
export function chargeUnknownIds(context: Context, charge: UnknownIdCharge): number {
  const calls = balanceOf(context, charge) - charge.charged
  if (charge.charged > 0)
    context.db.records.putSync(UNKNOWN_IDS, { calls, at: context.now } satisfies Balance)
  return calls
}

function balanceOf({ db, now }: Context, { maxBalance, refillPerMs }: UnknownIdCharge): number {
  const stored = db.records.get(UNKNOWN_IDS) as Balance | undefined
  const isStored = Number.isFinite(stored?.calls) && Number.isFinite(stored?.at)
  const { calls, at } = isStored ? (stored as Balance) : { calls: maxBalance, at: now }
  return Math.min(maxBalance, calls + Math.max(0, now - at) * refillPerMs)
}
