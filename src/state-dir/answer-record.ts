import type { SharedAnswer } from '../cache/shared-store.ts'

/**
 * An answer in the store: a line of JSON with everything but the text, then the text. Members that are not known here
 * are kept, so a later version can add some.
 */
export interface AnswerRecord {
  readonly answer: Omit<SharedAnswer, 'ageMs' | 'startedAgoMs'>
  /** Ms since the epoch. */
  readonly receivedAt: number
  readonly startedAt: number
  /** From then on the answer is expired. */
  readonly until: number
}

const NEWLINE = 10

export function encodeRecord({ answer, ...times }: AnswerRecord): Buffer {
  const { json, ...rest } = answer
  return Buffer.from(`${JSON.stringify({ ...rest, ...times })}\n${json}`)
}

/** Null for a value that this service did not write. */
export function decodeRecord(value: Buffer): AnswerRecord | null {
  const end = value.indexOf(NEWLINE)
  if (end < 0) return null
  try {
    const header = JSON.parse(value.toString('utf8', 0, end)) as Record<string, unknown>
    const { receivedAt, startedAt, until, ...rest } = header
    const { version, jitter } = rest
    const numbers = [receivedAt, startedAt, until, jitter]
    if (typeof version !== 'string' || !numbers.every(Number.isFinite)) return null
    const answer = { ...rest, json: value.toString('utf8', end + 1) } as AnswerRecord['answer']
    return { answer, receivedAt: Number(receivedAt), startedAt: Number(startedAt), until: Number(until) }
  } catch {
    return null
  }
}

/** The record of an answer at `now`, in ms since the epoch. */
export function recordOf(
  { ageMs, startedAgoMs, ...answer }: SharedAnswer,
  lifeMs: number,
  now: number,
): AnswerRecord {
  return { answer, receivedAt: now - ageMs, startedAt: now - startedAgoMs, until: now + lifeMs }
}

/**
 * The answer at `now`; null if it is expired, or from the future: then the clock has gone backwards, and its age is not
 * known.
 */
export function answerAt(
  { answer, receivedAt, startedAt, until }: AnswerRecord,
  now: number,
): SharedAnswer | null {
  if (until <= now || receivedAt > now) return null
  return { ...answer, ageMs: now - receivedAt, startedAgoMs: Math.max(0, now - startedAt) }
}
