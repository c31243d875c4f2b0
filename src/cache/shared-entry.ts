import { decodeAvailability, MAX_SHORT_TEXT } from '../availability/decode.ts'
import type { PowerFilter } from '../availability/filter.ts'
import type { Turns } from '../lib/turns.ts'
import { Answer } from './answer.ts'
import { emptiesIn } from './empty-doubt.ts'
import type { CacheEntry } from './entry-store.ts'
import { createEntry, floorMs } from './entry-store.ts'
import { validState } from './pacing-port.ts'
import type { SharedAnswer } from './shared-store.ts'

/** While so many wait to be decoded, others are decoded as they come: a store sends them faster, and each takes its bytes. */
export const MAX_WAITING_ANSWERS = 4

export interface DecodeOptions {
  /** When the answer came. */
  readonly now: number
  readonly powerFilter?: PowerFilter | undefined
  /** A long answer is decoded in one turn of the event loop, and rendered in another. Absent: all at once. */
  readonly turns?: Turns | undefined
}

/** The entry of a shared answer; null if the value is not an answer for this station. */
export async function entryOf(
  id: string,
  { json, ageMs, startedAgoMs, jitter, version, changedAt, station }: SharedAnswer,
  { now, powerFilter, turns }: DecodeOptions,
): Promise<CacheEntry | null> {
  const isSplit = json.length > MAX_SHORT_TEXT && turns !== undefined && turns.waiting < MAX_WAITING_ANSWERS
  try {
    if (isSplit) await turns.next()
    const availability = decodeAvailability(json, id)
    if (isSplit) await turns.continue()
    const answer = new Answer(availability, powerFilter)
    const empties = answer.isEmpty ? 0 : emptiesIn(version)
    const [receivedAt, startedAt] = [floorMs(now - ageMs), floorMs(now - startedAgoMs)]
    const doubt = empties === 0 ? null : { empties, at: startedAt }
    const moments = { receivedAt, startedAt, lastUsedAt: floorMs(now), changedAt }
    const fresh = { answer, ...moments, jitter, version, fromPeer: true, doubt }
    return createEntry(fresh, validState(station))
  } catch {
    return null
  }
}
