import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isIntact } from '../../src/state-dir/check-file.ts'

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
