import type { SharedAnswer } from '../cache/shared-store.ts'
import type { Databases, StationRecord } from './databases.ts'

/** Keeps what a process knows of a station, unless another process knows more. */
export function noteStation(db: Databases, id: string, record: StationRecord): void {
  const other = db.stations.get(id)
  if (other !== undefined && knowsMore(other, record)) return
  db.stations.putSync(id, record)
}

/** The answer with what is known of its station. The requests that were counted are those since the answer of a version. */
export function withStation(db: Databases, id: string, answer: SharedAnswer): SharedAnswer {
  const record = db.stations.get(id)
  if (record === undefined) return answer
  const { version, ...station } = record
  const isOfAnswer = version === answer.version
  return { ...answer, station: isOfAnswer ? station : { ...station, served: 0, servedAgesS: 0 } }
}

function knowsMore(one: StationRecord, other: StationRecord): boolean {
  return one.version === other.version ? one.served > other.served : one.watchedS > other.watchedS
}
