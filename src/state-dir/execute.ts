import type { Databases } from './databases.ts'
import type { Context, Operation } from './operation.ts'
import type { OperationName } from './operations.ts'
import { OPERATIONS } from './operations.ts'

export interface Request {
  readonly number: number
  readonly name: OperationName
  readonly args: readonly unknown[]
}

/** To the request with this number. */
export type Reply =
  | { readonly number: number; readonly result: unknown }
  | { readonly number: number; readonly error: { readonly code: string; readonly message: string } }

/**
 * Executes requests in one transaction, which is on disk before the first of them is answered. Those that only read are
 * in it, too: a transaction that changes nothing costs nothing, and lmdb marks a process that reads outside of one by
 * its process id, which processes in different containers have in common.
 */
export function executeAll(
  db: Databases,
  answerBytes: number,
  requests: readonly Request[],
  send: (reply: Reply) => void,
): void {
  const replies: Reply[] = []
  try {
    db.env.transactionSync(() => {
      // Read here, because the lock may have been waited for, and times of other processes are compared with it.
      const context: Context = { db, now: Date.now(), answerBytes }
      for (const { number, name, args } of requests) {
        replies.push({ number, result: execute(OPERATIONS[name], context, args) })
      }
      // The result of a put is a promise: returned from here, it would make the commit asynchronous.
      return null
    })
    for (const reply of replies) send(reply)
  } catch (error) {
    for (const { number } of requests) send(failure(number, error))
  }
}

function execute(operation: Operation, context: Context, args: readonly unknown[]): unknown {
  return (operation as (context: Context, ...args: readonly unknown[]) => unknown)(context, ...args)
}

export function failure(number: number, error: unknown): Reply {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  return { number, error: { code: String(code), message: String(message) } }
}
