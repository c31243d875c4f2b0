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

/** Executes requests: those that write in one transaction, which is on disk before the first of them is answered. */
export function executeAll(
  db: Databases,
  answerBytes: number,
  requests: readonly Request[],
  send: (reply: Reply) => void,
): void {
  const context: Context = { db, now: Date.now(), answerBytes }
  const writes = requests.filter((request) => !isRead(context, request, send))
  if (writes.length === 0) return
  const replies: Reply[] = []
  try {
    db.env.transactionSync(() => {
      // The lock may have been waited for, and times of other processes are compared with this one.
      const locked = { ...context, now: Date.now() }
      for (const { number, name, args } of writes) {
        const { write } = OPERATIONS[name] as Operation
        replies.push({ number, result: execute(write, locked, args) })
      }
      // The result of a put is a promise: returned from here, it would make the commit asynchronous.
      return null
    })
    for (const reply of replies) send(reply)
  } catch (error) {
    for (const { number } of writes) send(failure(number, error))
  }
}

/** Whether the request needs no transaction. It is answered then. */
function isRead(context: Context, { number, name, args }: Request, send: (reply: Reply) => void): boolean {
  const operation = OPERATIONS[name] as Operation
  if (operation.read === undefined) return false
  try {
    const result = execute(operation.read, context, args)
    if (result === undefined && operation.write !== undefined) return false
    send({ number, result })
  } catch (error) {
    send(failure(number, error))
  }
  return true
}

function execute(action: Operation['read'], context: Context, args: readonly unknown[]): unknown {
  return (action as (context: Context, ...args: readonly unknown[]) => unknown)(context, ...args)
}

export function failure(number: number, error: unknown): Reply {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  return { number, error: { code: String(code), message: String(message) } }
}
