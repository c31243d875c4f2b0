/*
 * The thread that has the store file open. It blocks while a transaction is synced, which the main thread must not. All
 * requests that have arrived by then are executed together.
 */
import { dirname } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import type { Databases } from './databases.ts'
import { openDatabases } from './databases.ts'
import type { Reply, Request } from './execute.ts'
import { executeAll, failure } from './execute.ts'
import { bySpace, FULL_DISK } from './disk-space.ts'
import { hasOtherLock, isLockNew, openFilesOf } from './lock-file.ts'
import { checkClock, isClockBehind } from './maintenance.ts'
import { OPENED } from './operation.ts'

export interface StoreThreadData {
  readonly path: string
  readonly answerBytes: number
}

/** By then a transaction has ended that began under a lock file that was removed. */
const NEW_LOCK_PAUSE_MS = 300
const OTHER_LOCK = Object.assign(new Error('the lock file was removed or replaced'), { code: 'OTHER_LOCK' })

export type Message = Request | 'close'

function serve(path: string, answerBytes: number, send: (reply: Reply) => void): (message: Message) => void {
  if (isLockNew(path)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, NEW_LOCK_PAUSE_MS)
  const files = openFilesOf(path)
  const db = openDatabases(path, answerBytes)
  db.env.transactionSync(() => {
    const context = { db, now: Date.now(), answerBytes }
    if (isClockBehind(context)) checkClock(context)
    return null
  })
  let requests: Request[] = []
  const execute = () => {
    const batch = requests
    requests = []
    if (hasOtherLock(path, files)) {
      for (const { number } of batch) send(failure(number, OTHER_LOCK))
      return
    }
    const { possible, impossible } = bySpace(dirname(path), batch)
    for (const { number } of impossible) send(failure(number, FULL_DISK))
    if (possible.length > 0) executeAll(db, answerBytes, possible, send)
  }
  return (message) => {
    if (message === 'close') {
      execute()
      void closeEnvironment(db)
    } else if (requests.push(message) === 1) setImmediate(execute)
  }
}

async function closeEnvironment(db: Databases): Promise<void> {
  await db.env.close()
  parentPort?.close()
}

if (parentPort !== null) {
  const port = parentPort
  const { path, answerBytes } = workerData as StoreThreadData
  const send = (reply: Reply) => port.postMessage(reply)
  try {
    port.on('message', serve(path, answerBytes, send))
    send({ number: OPENED, result: null })
  } catch (error) {
    send(failure(OPENED, error))
    port.close()
  }
}
