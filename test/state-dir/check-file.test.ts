import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { check } from '../../src/state-dir/check.ts'
import { isIntact } from '../../src/state-dir/check-file.ts'
import { openEnvironment } from '../../src/state-dir/databases.ts'

// That a damaged file is found is tested with whole processes (processes.test.ts).
await t.test('a check that fails to start shows nothing of the file, which is kept', async (t) => {
  const path = join(t.testdir(), 'state.mdb')
  writeFileSync(path, 'no store. '.repeat(2_000))
  const before = process.env['NODE_OPTIONS']
  process.env['NODE_OPTIONS'] = '--require=/nonexistent.cjs'
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_OPTIONS']
    else process.env['NODE_OPTIONS'] = before
  })
  t.equal(await isIntact(path), true)
})

await t.test('a store that lacks databases is intact, as one of an older version is', async (t) => {
  const path = join(t.testdir(), 'state.mdb')
  const env = openEnvironment(path, 0)
  t.teardown(() => env.close())
  t.equal(check(path), 0, 'it has none yet')
  env.openDB<Buffer, string>('records', { encoding: 'binary' }).putSync('a', Buffer.from('1'))
  t.equal(check(path), 0)
})
