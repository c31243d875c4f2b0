import type { PageFile } from './page-file.ts'
import {
  BRANCH,
  checkHeader,
  eachNode,
  ensure,
  HEADER_BYTES,
  isLarge,
  LARGE,
  LEAF,
  NODE_BYTES,
  numberAt,
  TREE_BYTES,
  treeAt,
} from './page-layout.ts'
import type { Meta, Tree, VisitNode } from './page-layout.ts'

const SCAN_BYTES = 2 ** 17
const NUMBER_BYTES = 8
/** More databases than lmdb opens here. */
const MAX_DATABASES = 255
/** What a database node has instead of 0. */
const IS_DATABASE = 2
const METAS = 2
/** The number of a child is in the bits of the length of a value and of the flags. */
const CHILD_BYTES = 6
/** Of a branch. In the tree of free pages lmdb allows one. */
const MIN_CHILDREN = 2

/** Pages in a row: those of a large value, or free ones. */
interface Pages {
  readonly first: number
  readonly count: number
}

/**
 * Compares every page that a transaction can reach with what lmdb relies on and does not check itself: a damaged header,
 * offset or list makes it write to memory that it does not own. Branches are read one by one, and the leaves of the
 * databases in the order of the file, in large portions, which takes a fifth of the time. Keys and values are not read.
 */
export class PageWalk {
  readonly #file: PageFile
  readonly #meta: Meta
  /** By page: whether it is used or free, so that no two have the same. */
  readonly #isTaken: Uint8Array
  /** By page: the number of the database of which it is a leaf, from 1 on. */
  readonly #leafOf: Uint8Array
  /** By page: how many pages the large value has that may begin there. */
  readonly #largePages: Uint32Array
  readonly #databases: Tree[] = []
  readonly #entries: number[] = []
  readonly #large: Pages[] = []
  readonly #free: Pages[] = []
  #lastFreedBy = 0

  constructor(file: PageFile, meta: Meta) {
    // A page that no transaction has written may lie behind the end. This many do not.
    ensure(meta.lastPage >= METAS - 1 && meta.lastPage < 2 * file.pages + 1_024)
    this.#file = file
    this.#meta = meta
    this.#isTaken = new Uint8Array(meta.lastPage + 1).fill(1, 0, METAS)
    this.#leafOf = new Uint8Array(meta.lastPage + 1)
    this.#largePages = new Uint32Array(meta.lastPage + 1)
  }

  /** @throws Fault */
  run(): void {
    const { main, free } = this.#meta
    ensure(this.#walk(main, MIN_CHILDREN, (leaf) => this.#listDatabases(leaf)) === main.entries)
    for (const [i, database] of this.#databases.entries()) {
      this.#walkBranches(database, MIN_CHILDREN, (number) => (this.#leafOf[number] = i + 1))
    }
    ensure(this.#walk(free, 1, (leaf) => this.#listFree(leaf)) === free.entries)
    this.#scan()
    for (const [i, database] of this.#databases.entries()) ensure(this.#entries[i] === database.entries)
    for (const { first, count } of this.#large) ensure(this.#largePages[first] === count)
    for (const { first, count } of this.#free) this.#take(first, count)
  }

  #take(first: number, count: number): void {
    ensure(first >= METAS && count >= 1 && first + count - 1 <= this.#meta.lastPage)
    for (let page = first; page < first + count; page++) {
      ensure(this.#isTaken[page] === 0)
      this.#isTaken[page] = 1
    }
  }

  /** Reads a tree with its leaves, and returns the sum of what `visit` returns for them. */
  #walk(tree: Tree, minChildren: number, visit: (leaf: Buffer) => number): number {
    let sum = 0
    this.#walkBranches(tree, minChildren, (number) => {
      const leaf = this.#file.read(number)
      checkHeader(leaf, 0, number, LEAF, this.#meta.transaction)
      sum += visit(leaf)
    })
    return sum
  }

  /** Visits the numbers of the leaves of a tree, in the order of their keys. */
  #walkBranches({ root, depth }: Tree, minChildren: number, visit: (leaf: number) => void): void {
    if (depth > 0) this.#walkBranch(root, depth, minChildren, visit)
  }

  #walkBranch(number: number, depth: number, minChildren: number, visit: (leaf: number) => void): void {
    this.#take(number, 1)
    ensure(number < this.#file.pages)
    if (depth === 1) return visit(number)
    const branch = this.#file.read(number)
    checkHeader(branch, 0, number, BRANCH, this.#meta.transaction)
    const children = eachNode(branch, 0, branch.length, (node) => {
      this.#walkBranch(branch.readUIntLE(node, CHILD_BYTES), depth - 1, minChildren, visit)
    })
    ensure(children >= minChildren)
  }

  #listDatabases(leaf: Buffer): number {
    return eachNode(leaf, 0, leaf.length, (node, keyBytes) => {
      ensure(leaf.readUInt16LE(node + 4) === IS_DATABASE && leaf.readUInt32LE(node) === TREE_BYTES)
      ensure(this.#databases.push(treeAt(leaf, node + NODE_BYTES + keyBytes)) <= MAX_DATABASES)
      this.#entries.push(0)
    })
  }

  #listFree(leaf: Buffer): number {
    return eachNode(leaf, 0, leaf.length, (node, keyBytes) => {
      ensure(keyBytes === NUMBER_BYTES)
      const freedBy = numberAt(leaf, node + NODE_BYTES)
      ensure(freedBy > this.#lastFreedBy && freedBy <= this.#meta.transaction)
      this.#lastFreedBy = freedBy
      this.#readFree(this.#valueOf(leaf, node, keyBytes))
    })
  }

  /** Pages that are free: how many numbers follow, and these: 0 for none, and a negative count before the first of several. */
  #readFree(list: Buffer): void {
    ensure(list.length >= NUMBER_BYTES)
    const length = numberAt(list, 0)
    ensure((length + 1) * NUMBER_BYTES <= list.length)
    for (let i = 1; i <= length; i++) {
      const entry = Number(list.readBigInt64LE(i * NUMBER_BYTES))
      if (entry === 0) continue
      if (entry > 0) this.#free.push({ first: entry, count: 1 })
      else {
        ensure(++i < list.length / NUMBER_BYTES)
        this.#free.push({ first: numberAt(list, i * NUMBER_BYTES), count: -entry })
      }
    }
  }

  /** A value that is read with its leaf, wherever it is. */
  #valueOf(leaf: Buffer, node: number, keyBytes: number): Buffer {
    const at = node + NODE_BYTES + keyBytes
    const length = leaf.readUInt32LE(node)
    const value = this.#checkValue(leaf, node, keyBytes)
    if (value === null) return leaf.subarray(at, at + length)
    const pages = this.#file.read(value.first, value.count)
    return pages.subarray(HEADER_BYTES, HEADER_BYTES + length)
  }

  /** The pages of a large value; null if the value is in the leaf. */
  #checkValue(leaf: Buffer, node: number, keyBytes: number): Pages | null {
    ensure(keyBytes > 0 && leaf.readUInt16LE(node + 4) <= 1)
    if (!isLarge(leaf, node)) return null
    const at = node + NODE_BYTES + keyBytes
    const value = { first: numberAt(leaf, at), count: numberAt(leaf, at + 16) }
    ensure(HEADER_BYTES + leaf.readUInt32LE(node) <= value.count * this.#meta.pageSize)
    this.#take(value.first, value.count)
    ensure(value.first + value.count <= this.#file.pages)
    this.#large.push(value)
    return value
  }

  /** Reads the file once, and checks the leaves of the databases. */
  #scan(): void {
    const { pageSize, lastPage } = this.#meta
    const atOnce = SCAN_BYTES / pageSize
    for (let first = METAS; first <= lastPage; first += atOnce) {
      const bytes = this.#file.scan(first, atOnce)
      const visit = (node: number, keyBytes: number) => this.#checkValue(bytes, node, keyBytes)
      for (let at = 0; at < bytes.length; at += pageSize) {
        const number = first + at / pageSize
        const database = this.#leafOf[number] ?? 0
        if (database > 0) this.#countLeaf(bytes, at, number, database - 1, visit)
        else this.#noteLarge(bytes, at, number)
      }
    }
  }

  #countLeaf(bytes: Buffer, at: number, number: number, database: number, visit: VisitNode): void {
    checkHeader(bytes, at, number, LEAF, this.#meta.transaction)
    const entries = eachNode(bytes, at, this.#meta.pageSize, visit)
    this.#entries[database] = (this.#entries[database] ?? 0) + entries
  }

  #noteLarge(bytes: Buffer, at: number, number: number): void {
    const isLargeValue = bytes.readUInt16LE(at + 18) === LARGE && numberAt(bytes, at) === number
    if (!isLargeValue || numberAt(bytes, at + 8) > this.#meta.transaction) return
    if (number < this.#largePages.length) this.#largePages[number] = bytes.readUInt32LE(at + 20)
  }
}
