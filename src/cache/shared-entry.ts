import { decodeAvailability } from '../availability/decode.ts'
import type { PowerFilter } from '../availability/filter.ts'
import { Answer } from './answer.ts'
import { emptiesIn } from './empty-doubt.ts'
import type { CacheEntry } from './entry-store.ts'
import { createEntry, floorMs } from './entry-store.ts'
import { validState } from './pacing-port.ts'
import type { SharedAnswer } from './shared-store.ts'

/** The entry of a shared answer; null if the value is not an answer for this station. */
export function entryOf(
  id: string,
  { json, ageMs, startedAgoMs, jitter, version, changedAt, station }: SharedAnswer,
  now: number,
  powerFilter?: PowerFilter,
): CacheEntry | null {
  try {
    const answer = new Answer(decodeAvailability(json, id), powerFilter)
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
