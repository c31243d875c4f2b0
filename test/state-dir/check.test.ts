import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { open } from 'lmdb'
import { check, checkSource } from '../../src/state-dir/check.ts'
import { openDatabases } from '../../src/state-dir/databases.ts'
import { byteSource } from '../../src/state-dir/page-file.ts'
import type { ByteSource } from '../../src/state-dir/page-file.ts'

/*
 * What the check finds in the bytes of a store file. The offsets are those of lmdb's structures (mdb.c): a page begins
 * with its number, its transaction (8 bytes each), 2 bytes unused, its flags and its bounds (2 bytes each), then has an
 * offset for each node, from the end of this header on.
 */

const INTACT = 0
const DAMAGED = 65
const PAGE = 4_096
const HEADER = 24

const id = (i: number) => `station-${i}`

/** A store with branches, large values, databases and free pages; its bytes. */
async function storeBytes(t: Test): Promise<Buffer> {
  const path = join(t.testdir(), 'state.mdb')
  const db = openDatabases(path, 1e7)
  const write = (action: (i: number) => unknown, from: number, to: number) =>
    db.env.transactionSync(() => {
      for (let i = from; i < to; i++) action(i)
      return null
    })
  db.answers.putSync('a large one', Buffer.alloc(30_000, 1))
  write((i) => db.answers.putSync(id(i), Buffer.alloc(100 + ((i * 37) % 1_500), 2)), 0, 600)
  write((i) => db.used.putSync(id(i), i), 0, 600)
  write((i) => db.answers.removeSync(id(i)), 200, 300)
  await db.env.close()
  return readFileSync(path)
}

const numberAt = (bytes: Buffer, at: number) => Number(bytes.readBigUInt64LE(at))

/** Where the meta of the last transaction begins. */
const newestMeta = (bytes: Buffer) =>
  numberAt(bytes, HEADER + 128) > numberAt(bytes, PAGE + HEADER + 128) ? 0 : PAGE

/** Where a node of a page begins. */
const nodeAt = (bytes: Buffer, page: number, i = 0) =>
  page + HEADER + bytes.readUInt16LE(page + HEADER + 2 * i)

/** Where the value of a node of a leaf begins. */
function valueAt(bytes: Buffer, page: number, i = 0): number {
  const node = nodeAt(bytes, page, i)
  return node + 8 + bytes.readUInt16LE(node + 6)
}

/** Where pages of each kind begin. */
function pagesOf(bytes: Buffer) {
  const meta = newestMeta(bytes)
  const free = numberAt(bytes, meta + 88) * PAGE
  const list = numberAt(bytes, meta + 136) * PAGE
  const branch = numberAt(bytes, valueAt(bytes, list) + 40) * PAGE // of the first database, which is `answers`
  let leaf = branch
  while (bytes.readUInt16LE(leaf + 18) === 1) leaf = bytes.readUInt32LE(nodeAt(bytes, leaf)) * PAGE
  const large = numberAt(bytes, valueAt(bytes, leaf)) * PAGE
  return { branch, leaf, large, list, free }
}

const sourceOf = (bytes: Buffer): ByteSource => ({
  size: () => bytes.length,
  read: (into, at) => bytes.copy(into, 0, at, at + into.length),
})

const noPause = () => {}

/** The exit code of the check of these bytes after some of them were changed. */
function codeOf(bytes: Buffer, change: (copy: Buffer) => unknown): number {
  const copy = Buffer.from(bytes)
  change(copy)
  return checkSource(sourceOf(copy), noPause)
}

const names = (found: readonly (readonly [string, number])[], code: number) =>
  found.filter(([, found]) => found === code).map(([name]) => name)

await t.test('each byte of a page header that lmdb relies on is checked', async (t) => {
  const bytes = await storeBytes(t)
  const pages = pagesOf(bytes)
  t.strictSame(
    Object.values(pages).map((page) => bytes.readUInt16LE(page + 18)),
    [1, 2, 4, 2, 2],
    'a branch, a leaf, a large value, and two lists',
  )
  const change = (page: number, byte: number) => (copy: Buffer) => {
    const at = page + byte
    // A transaction that is not newer than the file does no harm.
    copy[at] = byte >= 8 && byte < 16 ? 0xff : bytes.readUInt8(at) ^ 0xff
  }
  const codes = Object.entries(pages).flatMap(([kind, page]) =>
    Array.from(
      { length: HEADER },
      (_, byte) => [`${kind} ${byte}`, codeOf(bytes, change(page, byte))] as const,
    ),
  )
  const harmless = Object.keys(pages).flatMap((kind) => [`${kind} 16`, `${kind} 17`])
  t.strictSame(names(codes, INTACT), harmless)
  t.equal(names(codes, DAMAGED).length, Object.keys(pages).length * (HEADER - 2))
})

await t.test('the content of pages that lmdb relies on is checked', async (t) => {
  const bytes = await storeBytes(t)
  const { branch, leaf, large, list, free } = pagesOf(bytes)
  const meta = newestMeta(bytes)
  const last = numberAt(bytes, meta + HEADER + 120)
  const put = (at: number, number: number) => (copy: Buffer) => copy.writeBigUInt64LE(BigInt(number), at)
  const put16 = (at: number, number: number) => (copy: Buffer) => copy.writeUInt16LE(number, at)
  const changes: Record<string, (copy: Buffer) => unknown> = {
    'offset of a node': put16(leaf + HEADER + 2, bytes.readUInt16LE(leaf + HEADER)),
    'offset behind the page': put16(leaf + HEADER, 0xffff),
    'length of a key': put16(nodeAt(bytes, leaf) + 6, 200),
    'length of a value': put16(nodeAt(bytes, leaf, 1), 0),
    'kind of a value': put16(nodeAt(bytes, leaf, 1) + 4, 2),
    'child of a branch twice': (copy) =>
      copy.copyWithin(nodeAt(bytes, branch), nodeAt(bytes, branch, 1), nodeAt(bytes, branch, 1) + 6),
    'child behind the file': put16(nodeAt(bytes, branch) + 4, 1),
    'first page of a large value': put(valueAt(bytes, leaf), large / PAGE + 1),
    'pages of a large value': put(valueAt(bytes, leaf) + 16, 1),
    'flags of a database': put16(valueAt(bytes, list) + 4, 4),
    'depth of a database': put16(valueAt(bytes, list) + 6, 9),
    'entries of a database': put(valueAt(bytes, list) + 32, 9),
    'root of a database': put(valueAt(bytes, list) + 40, branch / PAGE + 1),
    'kind of a database': put16(nodeAt(bytes, list) + 4, 0),
    'length of a list of free pages': put(valueAt(bytes, free), 10_000),
    'free page that is used': put(valueAt(bytes, free) + 8, leaf / PAGE),
    'free page behind the file': put(valueAt(bytes, free) + 8, last + 1),
    'free pages of a later transaction': put(nodeAt(bytes, free) + 8, 1_000_000),
    'transaction of the metas': put(meta + HEADER + 128, numberAt(bytes, meta + HEADER + 128) + 1),
    'last page too low': put(meta + HEADER + 120, last - 1),
    'last page too high': put(meta + HEADER + 120, 1_000_000),
    'size of the pages': put16(meta + HEADER + 24, 8_192),
    'an empty meta': (copy) => copy.fill(0, PAGE - meta, 2 * PAGE - meta),
    'no meta': (copy) => copy.fill(0, 0, 2 * PAGE),
  }
  const codes = Object.entries(changes).map(([name, change]) => [name, codeOf(bytes, change)] as const)
  t.strictSame(names(codes, INTACT), [])
})

await t.test('a file that was cut off is damaged', async (t) => {
  const bytes = await storeBytes(t)
  const lengths = [1, PAGE, 2 * PAGE - 1, 2 * PAGE, 3 * PAGE, bytes.length / 2, bytes.length - 1]
  const codes = lengths.map(
    (length) => [`${length}`, checkSource(sourceOf(bytes.subarray(0, length)), noPause)] as const,
  )
  t.strictSame(names(codes, INTACT), [])
})

await t.test('no intact store is called damaged', async (t) => {
  const path = join(t.testdir(), 'state.mdb')
  const codes: number[] = []
  for (let round = 0; round < 6; round++) {
    const db = openDatabases(path, 1e8)
    codes.push(check(path))
    for (let batch = 0; batch < 8; batch++) {
      db.env.transactionSync(() => {
        for (let i = 0; i < 100; i++) {
          const n = (i * 7_919 + batch * 104_729 + round * 31) % 997
          if ((n + batch) % 3 === 0) db.answers.removeSync(id(n))
          else db.answers.putSync(id(n), Buffer.alloc(n % 5 === 0 ? n * 20 : n, 3))
          db.order.putSync([n * batch, id(i)], i)
        }
        if (batch === 5) for (const database of [db.order, db.answers]) database.clearSync()
        return null
      })
      codes.push(check(path))
    }
    await db.env.close()
    codes.push(check(path))
  }
  t.strictSame([...new Set(codes)], [INTACT])
})

await t.test('pages of another size are checked, too', async (t) => {
  const path = join(t.testdir(), 'state.mdb')
  const env = open<Buffer, string>({ path, noSubdir: true, encoding: 'binary', pageSize: 8_192 })
  const database = env.openDB<Buffer, string>('records', { encoding: 'binary' })
  t.equal(check(path), INTACT, 'without a record')
  for (let i = 0; i < 30; i++) database.putSync(id(i), Buffer.alloc(i * 200))
  await env.close()
  t.equal(check(path), INTACT)
  const bytes = readFileSync(path)
  t.equal(bytes.readUInt32LE(HEADER + 24), 8_192)
  t.equal(
    codeOf(bytes, (copy) => copy.fill(0xff, 2 * 8_192)),
    DAMAGED,
  )
})

await t.test('a file of a version of lmdb that is not known counts as intact', async (t) => {
  const bytes = await storeBytes(t)
  const VERSION = HEADER + 4
  const inOne = (copy: Buffer) => copy.writeUInt32LE(3, VERSION)
  const inBoth = (copy: Buffer) => {
    inOne(copy)
    copy.writeUInt32LE(3, PAGE + VERSION)
    copy.fill(0xff, 2 * PAGE)
  }
  t.strictSame([codeOf(bytes, inOne), codeOf(bytes, inBoth)], [DAMAGED, INTACT])
})

/** Damaged, while other processes commit so many transactions in the time of a check. */
function overtaken(
  bytes: Buffer,
  commits: number,
): { readonly source: ByteSource; readonly attempts: () => number } {
  const copy = Buffer.from(bytes)
  copy.writeUInt32LE(0, pagesOf(bytes).branch)
  const intact = sourceOf(copy)
  let transaction = numberAt(bytes, newestMeta(bytes) + HEADER + 128)
  let attempts = 0
  const read = (into: Buffer, at: number) => {
    const length = intact.read(into, at)
    if (at !== pagesOf(bytes).branch) return length
    attempts++
    for (let i = 0; i < commits; i++) {
      const [from, to] = transaction % 2 === 0 ? [0, PAGE] : [PAGE, 0]
      copy.copy(copy, to + HEADER, from + HEADER, from + HEADER + 144)
      copy.writeBigUInt64LE(BigInt(++transaction), to + HEADER + 128)
    }
    return length
  }
  return { source: { ...intact, read }, attempts: () => attempts }
}

await t.test('what was read while processes wrote to the same pages shows no damage', async (t) => {
  const bytes = await storeBytes(t)
  const results = [0, 1, 2, 3].map((commits) => {
    const { source, attempts } = overtaken(bytes, commits)
    return [commits, checkSource(source, noPause), attempts()]
  })
  t.strictSame(results, [
    [0, DAMAGED, 3],
    [1, DAMAGED, 3],
    [2, INTACT, 10],
    [3, INTACT, 10],
  ])
})

await t.test('what lasts for a moment is no damage, such as that a file is being created', async (t) => {
  const bytes = await storeBytes(t)
  const copy = Buffer.from(bytes)
  const writeAfter = (pauses: number) => {
    copy.fill(0, 0, pagesOf(bytes).branch + 1)
    return checkSource(sourceOf(copy), () => {
      if (--pauses === 0) bytes.copy(copy)
    })
  }
  t.strictSame([1, 2, 3].map(writeAfter), [INTACT, INTACT, DAMAGED])
  t.equal(checkSource(sourceOf(Buffer.alloc(0)), noPause), INTACT, 'an empty file is an empty store')
})

const skip = existsSync('/proc/self/mem') ? false : 'only on Linux'

await t.test('a disk that cannot read the file is damage', { skip }, (t) => {
  const memory = openSync('/proc/self/mem', 'r')
  t.teardown(() => closeSync(memory))
  const failing = { ...byteSource(memory), size: () => 2 * PAGE }
  t.equal(checkSource(failing, noPause), DAMAGED, 'reading its first byte fails with EIO')
  t.end()
})
