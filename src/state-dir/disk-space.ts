import { statfsSync } from 'node:fs'
import type { Request } from './execute.ts'

/** With less free space the disk counts as full: a commit would fail soon, and then succeed by chance. */
const MIN_FREE_BYTES = 128 * 1024
/** What a request may add to the file besides its arguments: some pages. */
const REQUEST_BYTES = 4_096

export const FULL_DISK = Object.assign(new Error('no space left'), { code: 'ENOSPC' })

/** Whether the file system of a directory has space for so many bytes. */
export function hasSpace(dir: string, bytes = 0): boolean {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize >= MIN_FREE_BYTES + bytes
}

/** @throws FULL_DISK */
export function checkSpace(dir: string): void {
  if (!hasSpace(dir)) throw FULL_DISK
}

/**
 * The requests that can be executed, and those for which the disk is too full. lmdb reports a write that fails to
 * standard error by itself, so it is not tried. Counting goes on: it rewrites pages that the file has already.
 */
export function bySpace(
  dir: string,
  requests: readonly Request[],
): { readonly possible: readonly Request[]; readonly impossible: readonly Request[] } {
  const others = requests.filter(({ name }) => name !== 'quota')
  if (others.length === 0 || isRoomFor(dir, others)) return { possible: requests, impossible: [] }
  return { possible: requests.filter(({ name }) => name === 'quota'), impossible: others }
}

/** A directory that was removed is no reason: the connection notices it. */
function isRoomFor(dir: string, requests: readonly Request[]): boolean {
  try {
    return hasSpace(
      dir,
      requests.reduce((sum, request) => sum + bytesOf(request), 0),
    )
  } catch {
    return true
  }
}

function bytesOf({ name, args }: Request): number {
  if (name !== 'publish') return REQUEST_BYTES
  const { json } = args[1] as { readonly json: string }
  return 2 * json.length + REQUEST_BYTES
}
