/*
 * How lmdb 3 writes a store file, by its source (dependencies/lmdb/libraries/liblmdb/mdb.c): pages of equal size, two of
 * which, the metas, name the roots of the trees in turn. Numbers are little-endian, of 64 bits where nothing is said.
 */

/** Before the content of each page: its number, its transaction, 2 bytes unused, its flags (16 bits), its bounds (16 bits each). */
export const HEADER_BYTES = 24
export const META_BYTES = 168
/** Before the key of a node: the length of its value (32 bits), its flags, the length of its key (16 bits each). */
export const NODE_BYTES = 8
/** What a tree has in a meta, and in the list of the databases. */
export const TREE_BYTES = 48
/** What a node has in place of a value that is in pages of its own: number, transaction and count of the pages. */
const LARGE_BYTES = 24
/** The root of an empty tree: all bits are set. */
export const NO_PAGE = 2 ** 64

export const BRANCH = 1
export const LEAF = 2
export const LARGE = 4
const META = 8

const MAGIC = 0xbe_ef_c0_de
const VERSION = 2
const PAGE_SIZES = new Set([512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536])
const MAX_DEPTH = 32
const MAX_TRANSACTION = 2 ** 48
/** With integer keys (8). The other bits of the first byte are those of trees that this service does not have. */
const FREE_TREE_FLAGS = 8
const TREE_FLAGS_MASK = 0xff

/** The file is not as lmdb writes it, or another process wrote while it was read. */
export class Fault extends Error {}

export function ensure(isAsWritten: boolean): asserts isAsWritten {
  if (!isAsWritten) throw new Fault()
}

export interface Tree {
  readonly depth: number
  readonly entries: number
  readonly root: number
}

export interface Meta {
  readonly pageSize: number
  /** The pages that are free, by the number of the transaction that freed them. */
  readonly free: Tree
  /** The databases, by name. */
  readonly main: Tree
  readonly lastPage: number
  /** The last one that was committed. */
  readonly transaction: number
}

export function numberAt(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
}

/** A tree without flags. None of this service has any; one that has needs a new layout number of the directory. */
export function treeAt(bytes: Buffer, at: number, flags = 0): Tree {
  ensure((bytes.readUInt16LE(at + 4) & TREE_FLAGS_MASK) === flags)
  const tree = {
    depth: bytes.readUInt16LE(at + 6),
    entries: numberAt(bytes, at + 32),
    root: numberAt(bytes, at + 40),
  }
  const isEmpty = tree.root === NO_PAGE
  ensure(isEmpty === (tree.depth === 0) && isEmpty === (tree.entries === 0) && tree.depth <= MAX_DEPTH)
  return tree
}

/** The first bytes of both meta pages. */
export type Metas = readonly [Buffer, Buffer]

/** Whether the metas are of a version of lmdb that this code does not know. In an intact file both are of the same. */
export function isOtherVersion([first, second]: Metas): boolean {
  const isSame = versionOf(first) === versionOf(second) && pageSizeOf(first) === pageSizeOf(second)
  return (
    isSame && hasMagic(first) && hasMagic(second) && pageSizeOf(first) > 0 && versionOf(first) !== VERSION
  )
}

const hasMagic = (meta: Buffer) => meta.readUInt32LE(HEADER_BYTES) === MAGIC
const versionOf = (meta: Buffer) => meta.readUInt32LE(HEADER_BYTES + 4)
const transactionOf = (meta: Buffer) => numberAt(meta, HEADER_BYTES + 128)
export const pageSizeOf = (meta: Buffer) => meta.readUInt32LE(HEADER_BYTES + 24)

/** The number of the last transaction, if the metas are intact. */
export function lastTransaction([first, second]: Metas): number {
  return Math.max(transactionOf(first), transactionOf(second))
}

/**
 * The meta of the last transaction. Transactions write to the two in turn.
 * @throws Fault
 */
export function newestMeta(metas: Metas): Meta {
  const transaction = lastTransaction(metas)
  ensure(transaction < MAX_TRANSACTION)
  for (const [number, meta] of metas.entries()) {
    checkHeader(meta, 0, number, META, Number.MAX_VALUE)
    ensure(hasMagic(meta) && versionOf(meta) === VERSION && pageSizeOf(meta) === pageSizeOf(metas[0]))
  }
  const newest = transaction % 2 === 0 ? metas[0] : metas[1]
  ensure(transactionOf(newest) === transaction && PAGE_SIZES.has(pageSizeOf(newest)))
  return {
    pageSize: pageSizeOf(newest),
    free: treeAt(newest, HEADER_BYTES + 24, FREE_TREE_FLAGS),
    main: treeAt(newest, HEADER_BYTES + 72),
    lastPage: numberAt(newest, HEADER_BYTES + 120),
    transaction,
  }
}

/** Checks the header of the page with this number, which begins at `at`. */
export function checkHeader(bytes: Buffer, at: number, number: number, flags: number, transaction: number) {
  ensure(numberAt(bytes, at) === number && numberAt(bytes, at + 8) <= transaction)
  ensure(bytes.readUInt16LE(at + 18) === flags)
}

/** Gets where a node begins, and the length of its key. */
export type VisitNode = (at: number, keyBytes: number) => void

/**
 * Visits the nodes of a branch or leaf, and checks that they fill the page from its upper bound to its end.
 * @param at - where the page begins
 * @returns their number
 */
export function eachNode(bytes: Buffer, at: number, pageSize: number, visit: VisitNode): number {
  const isLeaf = bytes.readUInt16LE(at + 18) === LEAF
  const begin = at + HEADER_BYTES
  const space = pageSize - HEADER_BYTES
  const lower = bytes.readUInt16LE(at + 20)
  const upper = bytes.readUInt16LE(at + 22)
  ensure(lower % 2 === 0 && lower <= upper && upper <= space)
  let filled = 0
  for (let index = 0; index < lower / 2; index++) {
    const offset = bytes.readUInt16LE(begin + 2 * index)
    ensure(offset % 2 === 0 && offset >= upper && offset + NODE_BYTES <= space)
    const keyBytes = bytes.readUInt16LE(begin + offset + 6)
    const length = NODE_BYTES + keyBytes + (isLeaf ? storedBytes(bytes, begin + offset) : 0)
    ensure(offset + length <= space)
    filled += length + (length % 2)
    visit(begin + offset, keyBytes)
  }
  ensure(filled === space - upper)
  return lower / 2
}

export const isLarge = (bytes: Buffer, node: number) => (bytes.readUInt16LE(node + 4) & 1) === 1

/** The bytes of a leaf's value that are in the leaf. */
function storedBytes(bytes: Buffer, node: number): number {
  return isLarge(bytes, node) ? LARGE_BYTES : bytes.readUInt32LE(node)
}
