/** Called when a lookup has to wait; the signal detaches this waiter alone. */
export type OnWait = () => AbortSignal

/** On whose behalf a lookup is: a call is charged to the client that starts it, unless it is empty. */
export interface Caller {
  readonly client: string
  readonly onWait: OnWait | undefined
}

/**
 * The caller of a lookup that has waited before and starts over, because a peer's answer was stale, or because the call
 * that it joined was rejected for the quota of the client that had started it.
 */
export function again({ client }: Caller, signal: AbortSignal | undefined): Caller {
  return { client, onWait: signal && (() => signal) }
}
