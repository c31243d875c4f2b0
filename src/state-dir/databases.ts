import type { Database, DatabaseOptions, RootDatabase } from 'lmdb'
import { open } from 'lmdb'
import type { StationState } from '../cache/entry-store.ts'

/** The databases of the store file. `used` and `order` are the two directions of one index. */
export interface Databases {
  readonly env: RootDatabase<Buffer, string>
  /** By station id: a record of answer-record.ts. */
  readonly answers: Database<Buffer, string>
  /** By station id: when its answer was last used, in ms since the epoch. */
  readonly used: Database<number, string>
  /** By time of the last use and station id: the bytes of the answer's record. */
  readonly order: Database<number | undefined, [number, string]>
  /** By station id: what pacing knows of it. */
  readonly stations: Database<StationRecord, string>
  /** By station id. */
  readonly leases: Database<LeaseRecord, string>
  /** By station id: when it was purged, in ms since the epoch. */
  readonly purged: Database<number, string>
  /** By a running number: when a token is used, in ms since the epoch. */
  readonly tokens: Database<number, number>
  /** By a running number: when a call was sent, or arrived at upstream if that is known, in ms since the epoch. */
  readonly sent: Database<number, number>
  /** By client: calls of the quota period that it started. */
  readonly clients: Database<number, string>
  /** The quota usage, cool-downs and other single records. */
  readonly records: Database<unknown, string>
}

/** Who may call for a station, or `!` and the code of the error that the last call ended in. Times since the epoch. */
export interface LeaseRecord {
  readonly holder: string
  readonly at: number
  readonly until: number
}

/** A record that is damaged counts as absent: what is written in its place repairs it. */
const JSON_ENCODER = {
  encode: (value: unknown) => JSON.stringify(value),
  decode(bytes: Buffer, options?: { readonly end?: number }): unknown {
    try {
      return JSON.parse(bytes.toString('utf8', 0, options?.end ?? bytes.length))
    } catch {
      return undefined
    }
  },
}
/** The types of lmdb lack the option. */
const JSON_RECORDS = { encoder: JSON_ENCODER } as DatabaseOptions

/** What pacing knows of a station since the answer of this version. */
export interface StationRecord extends StationState {
  readonly version: string
}

const RESERVED_BYTES = 256 * 2 ** 20
const MAX_DATABASES = 16

function openEnvironment(path: string, answerBytes: number): RootDatabase<Buffer, string> {
  return open<Buffer, string>({
    path,
    noSubdir: true,
    encoding: 'binary',
    maxDbs: MAX_DATABASES,
    // An upper bound for the file. It takes address space, not memory.
    mapSize: answerBytes + RESERVED_BYTES,
    // Without it lmdb syncs in a thread of its own, whose errors cannot be handled.
    overlappingSync: false,
    permissionsMode: 0o600,
  } as Parameters<typeof open>[0])
}

export function openDatabases(path: string, answerBytes: number): Databases {
  const env = openEnvironment(path, answerBytes)
  return {
    env,
    answers: env.openDB<Buffer, string>('answers', { encoding: 'binary' }),
    used: env.openDB<number, string>('used', JSON_RECORDS),
    order: env.openDB<number | undefined, [number, string]>('order', JSON_RECORDS),
    stations: env.openDB<StationRecord, string>('stations', JSON_RECORDS),
    leases: env.openDB<LeaseRecord, string>('leases', JSON_RECORDS),
    purged: env.openDB<number, string>('purged', JSON_RECORDS),
    tokens: env.openDB<number, number>('tokens', JSON_RECORDS),
    sent: env.openDB<number, number>('sent', JSON_RECORDS),
    clients: env.openDB<number, string>('clients', JSON_RECORDS),
    records: env.openDB<unknown, string>('records', JSON_RECORDS),
  }
}
