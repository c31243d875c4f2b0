/*
 * Reads a store file from its first to its last record, as a process of its own: lmdb maps the file into memory, so a
 * damaged one may crash the process that reads it. Exit code 0: intact; 65: damaged; 2: it could not be opened for
 * another reason.
 */
import { statSync } from 'node:fs'
import { DATABASE_NAMES, openEnvironment } from './databases.ts'

/** EX_DATAERR of sysexits.h: not 1, with which Node ends a process that fails to start. check-file.ts has it, too. */
const DAMAGED = 65
const NOT_OPENED = 2
const OTHER_REASON = /EACCES|ENOMEM|EAGAIN|EMFILE|READERS_FULL|denied|allocate|unavailable/i

/** @returns the exit code */
export function check(path: string): number {
  try {
    const env = openEnvironment(path, 0, true)
    // Large values are in pages of their own, which are read only if the end of the file may be missing.
    const { pageSize = 0, lastPageNumber = 0 } = env.getStats() as Record<string, number>
    const values = statSync(path).size < (lastPageNumber + 1) * pageSize
    // The list of the databases is one, too: without this check one that is lost would count as missing.
    const databases = [env, ...DATABASE_NAMES.map((name) => openBinary(env, name))]
    const isIntact = databases.every((database) => isReadable(database, values))
    return isIntact ? 0 : DAMAGED
  } catch (error) {
    return OTHER_REASON.test(String(error)) ? NOT_OPENED : DAMAGED
  }
}

type Binary = Pick<
  ReturnType<ReturnType<typeof openEnvironment>['openDB']>,
  'getStats' | 'getKeysCount' | 'getRange'
>

/** Undefined for a missing database, which the types of lmdb leave out. */
function openBinary(env: ReturnType<typeof openEnvironment>, name: string): Binary | undefined {
  return env.openDB(name, { encoding: 'binary', keyEncoding: 'binary' })
}

/**
 * Whether all records of a database can be read, and are as many as it should have. It is missing in a file of an older
 * version, and in one that another process is creating.
 */
function isReadable(database: Binary | undefined, values: boolean): boolean {
  if (database === undefined) return true
  const { entryCount = 0 } = database.getStats() as { entryCount?: number }
  // Without values the pages are walked in native code, which takes a third of the time.
  if (!values) return database.getKeysCount({}) === entryCount
  let count = 0
  for (const _ of database.getRange()) if (++count > entryCount) return false
  return count === entryCount
}

const [, , path] = process.argv
if (path !== undefined) process.exit(check(path))
