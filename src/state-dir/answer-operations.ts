import type { Lease, LeaseResult, SharedAnswer, WantedLease } from '../cache/shared-store.ts'
import type { ErrorCode } from '../errors.ts'
import { announce } from './announcement-operations.ts'
import { answerAt, decodeRecord, encodeRecord, recordOf } from './answer-record.ts'
import type { LeaseRecord } from './databases.ts'
import type { Context } from './operation.ts'
import { isInForce } from './operation.ts'
import { isPurged } from './purge-operations.ts'
import { noteStation, withStation } from './station-record.ts'
import { drop, evict, touch } from './use-order.ts'

/** Undefined if there is neither a new answer nor a lease in force: the lease can be acquired. */
export function readAnswerOrLease({ db, now }: Context, id: string, known: string): LeaseResult | undefined {
  const value = db.answers.get(id)
  const record = value === undefined ? null : decodeRecord(value)
  const answer = record && answerAt(record, now)
  if (answer !== null && answer.version !== known) {
    return { kind: 'answer', answer: withStation(db, id, answer) }
  }
  const lease = db.leases.get(id)
  return lease === undefined || !isInForce(lease, now) ? undefined : holderOf(lease, now)
}

/** A new answer, or who has the lease; acquires it if nobody has and the caller wants it. */
export function answerOrLease(
  context: Context,
  id: string,
  known: string,
  { token, ms }: WantedLease,
): LeaseResult {
  const found = readAnswerOrLease(context, id, known)
  if (found !== undefined) return found
  if (token === null) return { kind: 'none' }
  const { db, now } = context
  const value = db.answers.get(id)
  db.leases.putSync(id, { holder: token, at: now, until: now + ms })
  return { kind: 'lease', overCorruptValue: value !== undefined && decodeRecord(value) === null }
}

export function renewLease({ db, now }: Context, id: string, { token, ms }: Lease): void {
  if (db.leases.get(id)?.holder === token) db.leases.putSync(id, { holder: token, at: now, until: now + ms })
}

export function releaseLease(
  { db, now }: Context,
  id: string,
  token: string,
  code: string,
  ms: number,
): void {
  if (db.leases.get(id)?.holder !== token) return
  if (ms > 0) db.leases.putSync(id, { holder: `!${code}`, at: now, until: now + ms })
  else db.leases.removeSync(id)
}

export function publish(
  context: Context,
  id: string,
  { station, ...answer }: SharedAnswer,
  lifeMs: number,
): void {
  const { db, now } = context
  const hasLease = db.leases.get(id)?.holder === answer.version
  if (hasLease) db.leases.removeSync(id)
  else if (isPurged(context, id)) return
  const present = db.answers.get(id)
  const other = present === undefined ? null : decodeRecord(present)
  const record = recordOf(answer, lifeMs, now)
  if (other !== null && other.startedAt > record.startedAt && other.startedAt <= now) return
  const value = encodeRecord(record)
  if (value.length > context.answerBytes / 2) {
    drop(db, id)
    return
  }
  db.answers.putSync(id, value)
  if (station !== undefined) noteStation(db, id, { ...station, version: answer.version })
  touch(db, id, now, value.length)
  evict(context)
  announce(context, { stored: id, version: answer.version })
}

/** The answers of these stations that can be used; others are left out. */
export function readAnswers(
  { db, now }: Context,
  ids: readonly string[],
): (readonly [string, SharedAnswer])[] {
  return ids.flatMap((id) => {
    const value = db.answers.get(id)
    const record = value === undefined ? null : decodeRecord(value)
    const answer = record && answerAt(record, now)
    return answer === null ? [] : [[id, withStation(db, id, answer)] as const]
  })
}

function holderOf({ holder, until }: LeaseRecord, now: number): LeaseResult {
  return holder.startsWith('!')
    ? { kind: 'error', code: holder.slice(1) as ErrorCode, ms: until - now }
    : { kind: 'leased-by-peer' }
}

/** Removes leases that are over, of `limit` stations from `start` on; the station to continue from, or null. */
export function sweepLeases({ db, now }: Context, start: string | null, limit: number): string | null {
  const range = start === null ? { limit } : { start, limit }
  let last: string | null = null
  let count = 0
  for (const { key, value } of Array.from(db.leases.getRange(range))) {
    if (value === undefined || !isInForce(value, now)) db.leases.removeSync(key)
    last = key
    count++
  }
  return count < limit ? null : last
}
