import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openDatabases } from '../../src/state-dir/databases.ts'
import { prepareDirectory } from '../../src/state-dir/directory.ts'
import { hasOtherLock, isLockNew, openFilesOf, removeForeignLock } from '../../src/state-dir/lock-file.ts'

await t.test('a lock file that was removed or replaced beside the same store file is noticed', (t) => {
  const path = prepareDirectory(t.testdir({}))
  const lock = `${path}-lock`
  const opened = openFilesOf(path)
  const seen = [hasOtherLock(path, opened)]
  renameSync(lock, `${lock}.away`)
  seen.push(hasOtherLock(path, opened))
  writeFileSync(lock, '')
  seen.push(hasOtherLock(path, opened))
  renameSync(`${lock}.away`, lock)
  seen.push(hasOtherLock(path, opened))
  t.strictSame(seen, [false, true, true, false])
  t.end()
})

await t.test('a lock file that was removed or replaced together with the store file is none', (t) => {
  const path = prepareDirectory(t.testdir({}))
  const opened = openFilesOf(path)
  renameSync(path, `${path}.away`)
  rmSync(`${path}-lock`)
  const removed = hasOtherLock(path, opened)
  prepareDirectory(join(path, '..'))
  t.strictSame([removed, hasOtherLock(path, opened)], [false, false])
  t.end()
})

const isRoot = process.getuid?.() === 0
const NOBODY = 65_534

await t.test('a directory that cannot be read has no other lock', { skip: !isRoot && 'not root' }, (t) => {
  const dir = t.testdir({})
  const path = prepareDirectory(dir)
  const opened = openFilesOf(path)
  chmodSync(dir, 0)
  process.seteuid?.(NOBODY)
  const isOther = hasOtherLock(path, opened)
  process.seteuid?.(0)
  chmodSync(dir, 0o700)
  t.equal(isOther, false)
  t.end()
})

await t.test('a lock file of lmdb is kept, and another is removed', async (t) => {
  const path = prepareDirectory(t.testdir({}))
  const lock = `${path}-lock`
  const kept = [removeForeignLock(path), isLockNew(path)]
  const db = openDatabases(path, 1e7)
  db.records.putSync('a', 1)
  await db.env.close()
  kept.push(removeForeignLock(path), isLockNew(path))
  t.strictSame(kept, [false, false, false, false])
  writeFileSync(lock, 'x')
  t.strictSame([removeForeignLock(path), existsSync(lock)], [true, false])
  prepareDirectory(join(path, '..'))
  t.equal(isLockNew(path), true)
})
