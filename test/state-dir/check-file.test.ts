import { join } from 'node:path'
import t from 'tap'
import { isIntact } from '../../src/state-dir/check-file.ts'

// What the check finds is tested in check.test.ts, and with whole processes in failures.test.ts.
await t.test(
  'a check that fails to start, or is ended, shows nothing of the file, which is kept',
  async (t) => {
    const end = "process.kill(process.pid, 'SIGTERM')"
    const dir = t.testdir({ 'state.mdb': 'no store. '.repeat(2_000), 'end.cjs': end })
    const path = join(dir, 'state.mdb')
    const before = process.env['NODE_OPTIONS']
    t.teardown(() => {
      if (before === undefined) delete process.env['NODE_OPTIONS']
      else process.env['NODE_OPTIONS'] = before
    })
    process.env['NODE_OPTIONS'] = '--require=/nonexistent.cjs'
    t.equal(await isIntact(path), true)
    process.env['NODE_OPTIONS'] = `--require=${join(dir, 'end.cjs')}`
    t.equal(await isIntact(path), true)
  },
)
