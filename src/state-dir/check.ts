/*
 * Reads a store file from its first to its last page, as a process of its own, since that takes time. It does not use
 * lmdb, which a damaged file can crash. Exit code 0: intact, or not known to be damaged; 65: damaged.
 */
import { closeSync, openSync } from 'node:fs'
import { arch, endianness } from 'node:os'
import type { ByteSource } from './page-file.ts'
import { byteSource, PageFile } from './page-file.ts'
import { Fault, isOtherVersion, lastTransaction, META_BYTES, newestMeta, pageSizeOf } from './page-layout.ts'
import type { Meta, Metas } from './page-layout.ts'
import { PageWalk } from './page-walk.ts'

/** EX_DATAERR of sysexits.h: not 1, with which Node ends a process that fails to start. check-file.ts has it, too. */
const DAMAGED = 65
const INTACT = 0
/** Platforms with numbers of 64 bits, for which lmdb has binaries. On others the layout differs. */
const PLATFORMS = new Set(['x64', 'arm64'])
const MAX_ATTEMPTS = 10
/**
 * A file is damaged if a fault is found so often. Another process may be creating the file, or have just opened it: lmdb
 * 3.5 then sets the number of the last transaction from what it read before, and a commit in between is lost.
 */
const MIN_FOUND = 3
const PAUSE_MS = 50

/** @returns the exit code */
export function check(path: string): number {
  if (endianness() !== 'LE' || !PLATFORMS.has(arch())) return INTACT
  const file = openSync(path, 'r')
  try {
    return checkSource(byteSource(file))
  } finally {
    closeSync(file)
  }
}

/**
 * @param pause - between two looks at the same fault
 * @returns the exit code
 */
export function checkSource(source: ByteSource, pause: () => void = wait): number {
  // An empty file is an empty store to lmdb.
  if (source.size() === 0) return INTACT
  let found = 0
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const isDamaged = isFileDamaged(source)
    if (isDamaged === false) return INTACT
    if (isDamaged === true && ++found === MIN_FOUND) return DAMAGED
    if (isDamaged === true) pause()
  }
  return INTACT
}

function wait(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
}

/** Null if it is not known, because other processes wrote meanwhile. */
function isFileDamaged(source: ByteSource): boolean | null {
  let meta: Meta | null = null
  try {
    const metas = readMetas(source)
    if (isOtherVersion(metas)) return false
    meta = newestMeta(metas)
    new PageWalk(new PageFile(source, meta.pageSize), meta).run()
    return false
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return meta === null || isKept(source, meta) ? true : null
  }
}

/** Whether the pages of a transaction have not been written to yet. */
function isKept(source: ByteSource, { transaction }: Meta): boolean {
  // What the next transaction frees, the second one after that may be the first to write to.
  const later = lastTransaction(readMetas(source)) - transaction
  return later === 0 || later === 1
}

/** The two metas, as they are when no process writes to them. */
function readMetas(source: ByteSource): Metas {
  for (let before = readMetasOnce(source); ;) {
    const metas = readMetasOnce(source)
    if (Buffer.concat(metas).equals(Buffer.concat(before))) return metas
    before = metas
  }
}

function readMetasOnce(source: ByteSource): Metas {
  const first = readMeta(source, 0)
  return [first, readMeta(source, pageSizeOf(first))]
}

/** With zeros behind the end of the file. */
function readMeta(source: ByteSource, at: number): Buffer {
  const meta = Buffer.alloc(META_BYTES)
  source.read(meta, at)
  return meta
}

const [, , path] = process.argv
if (path !== undefined) process.exit(check(path))
