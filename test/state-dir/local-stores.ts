import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'
import { systemClock } from '../../src/lib/clock.ts'
import { openDatabases } from '../../src/state-dir/databases.ts'
import type { Databases } from '../../src/state-dir/databases.ts'
import { prepareDirectory } from '../../src/state-dir/directory.ts'
import type { Reply } from '../../src/state-dir/execute.ts'
import { executeAll } from '../../src/state-dir/execute.ts'
import type { Requester } from '../../src/state-dir/stores.ts'
import { createStores } from '../../src/state-dir/stores.ts'
import type { SharedStores } from '../../src/stores.ts'

export interface LocalStores {
  readonly path: string
  readonly db: Databases
  readonly request: Requester['request']
  /** The stores of one more process. */
  readonly open: () => Omit<SharedStores, 'close'>
}

/**
 * Stores in a directory of their own without the thread, which starts slowly under the loaders of the tests. The
 * service with its thread is in processes.test.ts.
 */
export function localStores(t: Test, answerBytes = 40_000_000): LocalStores {
  const path = prepareDirectory(join(t.testdir({}), 'state'))
  const db = openDatabases(path, answerBytes)
  t.teardown(() => db.env.close())
  const request: Requester['request'] = (name, args) =>
    new Promise((resolve) => {
      const settle = (reply: Reply) => resolve('error' in reply ? undefined : reply.result)
      // As they arrive at the thread: copies.
      setImmediate(() =>
        executeAll(db, answerBytes, [{ number: 1, name, args: structuredClone(args) }], settle),
      )
    })
  const count = (args: readonly unknown[]) => request('quota', args)
  const requester = () => ({
    isUp: true,
    outage: null,
    canCount: true,
    request,
    count,
    name: randomUUID(),
    processes: 1,
  })
  return { path, db, request, open: () => createStores(requester(), systemClock) }
}
