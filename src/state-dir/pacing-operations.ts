import { PRICE_TTL_MS } from '../upstream/pacing/learned-pacing.ts'
import type { UnknownIdCharge } from '../upstream/pacing/unknown-id-allowance.ts'
import type { Context } from './operation.ts'
import { MAX_AHEAD_MS } from './operation.ts'

const PRICE = 'price'
const LEARNED = 'pacing'
const UNKNOWN_IDS = 'unknown-ids'

interface Price {
  readonly thetaS: number
  readonly by: string
  readonly at: number
}

/** Calls charged and not refilled, and when that was. */
interface Charged {
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

/** Charges calls to the allowance for unknown ids, or only reads (0). The rules of UnknownIdAllowance. */
export function chargeUnknownIds({ db, now }: Context, { charged, refillPerMs }: UnknownIdCharge): number {
  const stored = db.records.get(UNKNOWN_IDS) as Charged | undefined
  const isStored = Number.isFinite(stored?.calls) && Number.isFinite(stored?.at)
  const { calls, at } = isStored ? (stored as Charged) : { calls: 0, at: now }
  const outstanding = Math.max(0, calls - Math.max(0, now - at) * refillPerMs) + charged
  if (charged > 0) db.records.putSync(UNKNOWN_IDS, { calls: outstanding, at: now } satisfies Charged)
  return outstanding
}
