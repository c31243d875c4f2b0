import { accessSync, closeSync, constants, openSync, readSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import {
  attempt,
  FILE_MODE,
  isForeign,
  lockOf,
  readVersion,
  rejectBrokenLink,
  statIfPresent,
  STORE_FILE,
  UnusableDirectoryError,
} from './directory.ts'
import { hasSpace } from './disk-space.ts'
import { LMDB_MAGIC } from './lock-file.ts'

const { R_OK, W_OK, X_OK } = constants
const META_BYTES = 64

/**
 * What a start would report of a directory. Changes nothing in it and takes no lock, so that a process that uses the
 * directory is not disturbed; in return only the begin of the store file is read.
 * @returns what a start would warn of
 * @throws UnusableDirectoryError as `prepareDirectory`
 */
export function inspectDirectory(given: string): string[] {
  const dir = resolve(given)
  const existing = attempt(`${dir} cannot be created`, () => usableParent(dir))
  if (existing !== dir) return spaceWarnings(existing)
  attempt(`${dir} cannot be written`, () => {
    accessSync(dir, R_OK | W_OK | X_OK)
    readVersion(dir)
  })
  const path = join(dir, STORE_FILE)
  attempt(`${path} cannot be written`, () => {
    for (const file of [path, lockOf(path)]) if (!isForeign(file)) checkAccess(file)
  })
  const isUnusable = isForeign(path) || !beginsAsStore(path)
  const moved = `${path} is not a store of this service: a start moves it aside and begins with an empty one`
  return [...(isUnusable ? [moved] : []), ...spaceWarnings(dir)]
}

/** The directory itself, or the nearest one above it, in which it can be created. */
function usableParent(dir: string): string {
  const stats = statIfPresent(dir)
  if (stats?.isDirectory() === true) return dir
  if (stats !== undefined) throw new UnusableDirectoryError(`${dir} is a file, not a directory`)
  const parent = usableParent(dirname(dir))
  rejectBrokenLink(dir)
  accessSync(parent, W_OK | X_OK)
  return parent
}

/** What a start needs of a file that exists: to read and write it, and to set its mode. */
function checkAccess(path: string): void {
  const stats = statIfPresent(path)
  if (stats === undefined) return
  accessSync(path, R_OK | W_OK)
  const { uid } = userInfo()
  if ((stats.mode & 0o777) === FILE_MODE || uid === stats.uid || uid === 0) return
  throw Object.assign(new Error('not the owner'), { code: 'EPERM' })
}

/** Whether a file can be one of lmdb: an empty one is an empty store. */
function beginsAsStore(path: string): boolean {
  if (statIfPresent(path) === undefined) return true
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(META_BYTES)
    const length = readSync(file, bytes, 0, META_BYTES, 0)
    return length === 0 || bytes.includes(LMDB_MAGIC)
  } finally {
    closeSync(file)
  }
}

function spaceWarnings(dir: string): string[] {
  return hasSpace(dir) ? [] : [`${dir}: the disk is full, so the service starts and continues without it`]
}
