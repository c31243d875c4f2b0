/** The message of the error for a command without a reply in time. */
export const TIMED_OUT = 'Command timed out'

const NOT_ALLOWED = 'the user may not run a required command'

/** By a mark in the message of an error of Redis or Valkey: its meaning for the operator. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  WRONGPASS: 'the user or the password is wrong',
  NOAUTH: 'a password is required',
  NOPERM: NOT_ALLOWED,
  "can't run this command": NOT_ALLOWED, // in a script, Redis
  'has no permissions': NOT_ALLOWED, // in a script, Valkey
  READONLY: 'the server is a read-only replica',
  OOM: 'the memory of the server is full and nothing may be evicted',
  LOADING: 'the server is loading its data',
  MASTERDOWN: 'the server has lost its primary',
  CLUSTERDOWN: 'the cluster is not complete',
  MISCONF: 'the server cannot persist and accepts no writes',
}

/**
 * Whether the server works, but rejected this command: for its arguments, or for a value that this service did not
 * write. That is a defect to report and no outage.
 */
export function isRejectedCommand(error: unknown): boolean {
  const { name, message = '' } = error as Partial<Error>
  if (name !== 'ReplyError' || Object.keys(DESCRIPTIONS).some((mark) => message.includes(mark))) return false
  return (
    message.startsWith('WRONGTYPE') || (message.startsWith('ERR') && !message.includes('unknown command'))
  )
}

/** Why a command failed. The server's message is never included: it may repeat a secret. */
export function describeRedisError(error: unknown): string {
  const {
    name,
    code,
    message = '',
    lastNodeError,
  } = error as Partial<NodeJS.ErrnoException> & { readonly lastNodeError?: unknown }
  if (lastNodeError !== undefined) return describeRedisError(lastNodeError)
  if (message === TIMED_OUT) return 'a command timed out'
  const mark = Object.keys(DESCRIPTIONS).find((word) => message.includes(word))
  if (mark !== undefined) return DESCRIPTIONS[mark] as string
  if (name === 'ReplyError') {
    return `the server rejected a command (${/^[A-Z]+\b/.exec(message)?.[0] ?? 'unclear'})`
  }
  return code === undefined ? 'no connection' : `no connection (${code})`
}
