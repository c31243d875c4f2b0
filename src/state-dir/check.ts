/*
 * Reads a store file from its first to its last record, as a process of its own: lmdb maps the file into memory, so a
 * damaged one may crash the process that reads it. Exit code 0: intact; 1: damaged; 2: it could not be opened for
 * another reason.
 */
import { DATABASE_NAMES, openEnvironment } from './databases.ts'

export const DAMAGED = 1
const NOT_OPENED = 2
const OTHER_REASON = /EACCES|ENOMEM|EAGAIN|EMFILE|READERS_FULL|denied|allocate|unavailable/i
const NOT_FOUND = /not found/i

/** @returns the exit code */
export function check(path: string): number {
  try {
    const env = openEnvironment(path, 0, true)
    for (const name of DATABASE_NAMES) {
      const count = readAll(() =>
        env.openDB<Buffer, Buffer>(name, { encoding: 'binary', keyEncoding: 'binary' }),
      )
      if (count === null) return DAMAGED
    }
    return 0
  } catch (error) {
    return OTHER_REASON.test(String(error)) ? NOT_OPENED : DAMAGED
  }
}

/** Null for a tree that has another number of records than it should. */
function readAll(
  open: () => { getRange: (options: object) => Iterable<{ value: Buffer }>; getStats: () => object },
): number | null {
  let database
  try {
    database = open()
  } catch (error) {
    if (NOT_FOUND.test(String(error))) return 0
    throw error
  }
  const { entryCount = 0 } = database.getStats() as { entryCount?: number }
  let count = 0
  for (const { value } of database.getRange({ snapshot: true })) {
    if (value === undefined || ++count > entryCount) return null
  }
  return count === entryCount ? count : null
}

const [, , path] = process.argv
if (path !== undefined) process.exit(check(path))
