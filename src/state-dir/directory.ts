import type { Stats } from 'node:fs'
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { readSmallFile } from '../lib/small-file.ts'

/** The number of the layout. Raised when a version of this service cannot read what this one writes. */
const LAYOUT = 1

const VERSION_FILE = 'version'
const MAX_VERSION_BYTES = 64
export const STORE_FILE = 'state.mdb'
/** A damaged file is kept beside the new one. */
const DAMAGED_SUFFIX = '.damaged'
const DIRECTORY_MODE = 0o700
export const FILE_MODE = 0o600

/** The directory cannot be used until somebody changes it. */
export class UnusableDirectoryError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnusableDirectoryError'
  }
}

/** A newer version of this service has written the directory, in a way that this version does not know. */
export class NewerLayoutError extends UnusableDirectoryError {}

const READABLE: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such directory',
  ENOTDIR: 'a part of the path is a file',
  ENAMETOOLONG: 'the path is too long',
  ELOOP: 'the path has a loop of links',
  'no regular file': 'version is not a regular file',
  [`more than ${MAX_VERSION_BYTES} bytes`]: 'the file version is too long',
}

/** A store file was moved aside. */
type OnReplaced = (path: string, keptAs: string) => void

/**
 * Creates the directory and its files if they are missing.
 * @returns the path of the store file
 * @throws UnusableDirectoryError, or an error of the file system that may end by itself, such as a full disk
 */
export function prepareDirectory(given: string, onReplaced: OnReplaced = () => {}): string {
  const dir = resolve(given)
  attempt(`${dir} cannot be created`, () => createDirectory(dir))
  attempt(`${dir} cannot be written`, () => {
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK)
    if (readVersion(dir) < LAYOUT) writeVersion(dir)
  })
  const path = join(dir, STORE_FILE)
  const lock = lockOf(path)
  attempt(`${path} cannot be written`, () => {
    if (isForeign(path)) onReplaced(path, moveAside(path))
    if (isForeign(lock)) setAside(lock)
    for (const file of [path, lock]) createFile(file)
  })
  return path
}

/** Whether there is something that cannot be a store file, such as a directory, a pipe or a link to nothing. */
export function isForeign(path: string): boolean {
  const isThere = lstatSync(path, { throwIfNoEntry: false }) !== undefined
  return isThere && statSync(path, { throwIfNoEntry: false })?.isFile() !== true
}

/** The file by which processes that use a store file exclude each other. It has no content that is kept. */
export function lockOf(path: string): string {
  return `${path}-lock`
}

/** Moves a store file that cannot be used out of the way, and returns its new path. */
export function moveAside(path: string): string {
  rmSync(lockOf(path), { recursive: true, force: true })
  return setAside(path)
}

function setAside(path: string): string {
  const target = path + DAMAGED_SUFFIX
  rmSync(target, { recursive: true, force: true })
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) renameSync(path, target)
  return target
}

/** Identifies a file, so that its replacement is noticed; null if there is none. */
export function identityOf(path: string): string | null {
  const stats = statIfPresent(path)
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`
}

/** With its parents. The recursive mkdir of Node.js never returns for a path in /proc. */
function createDirectory(dir: string): void {
  const stats = statIfPresent(dir)
  if (stats?.isDirectory() === true) return
  if (stats !== undefined) throw new UnusableDirectoryError(`${dir} is a file, not a directory`)
  if (dirname(dir) !== dir) createDirectory(dirname(dir))
  rejectBrokenLink(dir)
  try {
    mkdirSync(dir, { mode: DIRECTORY_MODE })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // by another process, meanwhile
  }
}

/** @throws UnusableDirectoryError for a link to nothing, in whose place no directory can be created */
export function rejectBrokenLink(dir: string): void {
  if (lstatSync(dir, { throwIfNoEntry: false })?.isSymbolicLink() !== true || existsSync(dir)) return
  throw new UnusableDirectoryError(`${dir} is a link to a directory that does not exist`)
}

/** Undefined below a file, too: with `throwIfNoEntry: false` this depends on the version of Node. */
export function statIfPresent(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

/**
 * The number of the directory's layout. 0 without one: a version that is no number was cut off by a power loss, before
 * there was anything else.
 * @throws NewerLayoutError
 */
export function readVersion(dir: string): number {
  const version = /^\s*(\d+)\s*$/.exec(readVersionFile(dir) ?? '')?.[1] ?? '0'
  if (Number(version) <= LAYOUT) return Number(version)
  throw new NewerLayoutError(
    `${dir} was written by a newer version of this service (layout ${version}, this version knows ${LAYOUT})`,
  )
}

function writeVersion(dir: string): void {
  const path = join(dir, VERSION_FILE)
  const temporary = `${path}.${Math.random().toString(36).slice(2)}`
  writeFileSync(temporary, `${LAYOUT}\n`, { mode: FILE_MODE })
  renameSync(temporary, path)
}

function readVersionFile(dir: string): string | null {
  try {
    return readSmallFile(join(dir, VERSION_FILE), MAX_VERSION_BYTES)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/**
 * With its mode from the first moment. An empty file is an empty store to lmdb. A file that exists is not opened: closing
 * it would end the locks that lmdb has on it in this process, and the next process to end would destroy the mutex.
 */
function createFile(path: string): void {
  if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK)
  else closeSync(openSync(path, 'a+', FILE_MODE))
  if ((statSync(path).mode & 0o777) !== FILE_MODE) chmodSync(path, FILE_MODE)
}

/** @throws UnusableDirectoryError with this problem, or an error of the file system that may end by itself */
export function attempt<T>(problem: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    const reason = READABLE[code]
    throw reason === undefined ? error : new UnusableDirectoryError(`${problem}: ${reason}`)
  }
}
