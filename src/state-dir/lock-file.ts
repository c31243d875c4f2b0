import { closeSync, openSync, readSync, rmSync } from 'node:fs'
import { identityOf, lockOf, statIfPresent } from './directory.ts'

/** The number at the begin of a lock file, and near that of each meta page; little-endian. */
export const LMDB_MAGIC = Buffer.from([0xde, 0xc0, 0xef, 0xbe])

/** The store file and its lock file, as they were opened. */
export interface OpenFiles {
  readonly store: string | null
  readonly lock: string | null
}

export function openFilesOf(path: string): OpenFiles {
  return { store: identityOf(path), lock: identityOf(lockOf(path)) }
}

/**
 * Whether the store file has another lock file now. Then nothing excludes this process and those that open the file from
 * writing at the same time. If the store file was replaced as well, all that have the former one open still exclude each
 * other. False if the directory cannot be read: then no process can open the file.
 */
export function hasOtherLock(path: string, { store, lock }: OpenFiles): boolean {
  try {
    return identityOf(lockOf(path)) !== lock && identityOf(path) === store
  } catch {
    return false
  }
}

/** Whether the lock file was just created for a store file that has been used before. */
export function isLockNew(path: string): boolean {
  return sizeOf(path) > 0 && sizeOf(lockOf(path)) === 0
}

/**
 * Removes a lock file that is not lmdb's, which crashes a process that opens it while another uses it. Not to be called
 * while this process has the store file open: closing the lock file ends the locks of the process.
 * @returns whether it was removed
 */
export function removeForeignLock(path: string): boolean {
  const lock = lockOf(path)
  if (sizeOf(lock) === 0 || readBegin(lock, LMDB_MAGIC.length).equals(LMDB_MAGIC)) return false
  rmSync(lock)
  return true
}

function sizeOf(path: string): number {
  return statIfPresent(path)?.size ?? 0
}

function readBegin(path: string, length: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(length)
    readSync(file, bytes, 0, length, 0)
    return bytes
  } finally {
    closeSync(file)
  }
}
