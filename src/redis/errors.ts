/** What an error says that stands for a reply that did not come in time. */
export const TIMED_OUT = 'Command timed out'

const NOT_ALLOWED = 'the user may not do what is needed'

/** Marks of Redis's errors, and what it means for an operator. */
const MEANING: Readonly<Record<string, string>> = {
  WRONGPASS: 'the user or the password is wrong',
  NOAUTH: 'a password is required',
  NOPERM: NOT_ALLOWED,
  "can't run this command": NOT_ALLOWED, // in a script of Redis
  'has no permissions': NOT_ALLOWED, // in one of Valkey
  READONLY: 'the server is a read-only replica',
  OOM: 'the memory of the server is full and nothing may be evicted',
  LOADING: 'the server is loading its data',
  MASTERDOWN: 'the server has lost its primary',
  CLUSTERDOWN: 'the cluster is not complete',
  MISCONF: 'the server cannot persist and takes no writes',
}

/** Why a command failed, in words of our own: a server's message may repeat what it was told. */
export function describeRedisError(error: unknown): string {
  const {
    name,
    code,
    message = '',
    lastNodeError,
  } = error as Partial<NodeJS.ErrnoException> & { readonly lastNodeError?: unknown }
  if (lastNodeError !== undefined) return describeRedisError(lastNodeError)
  if (message === TIMED_OUT) return 'a command timed out'
  const known = Object.keys(MEANING).find((word) => message.includes(word))
  if (known !== undefined) return MEANING[known] as string
  if (name === 'ReplyError')
    return `the server refused a command (${/^[A-Z]+\b/.exec(message)?.[0] ?? 'unclear'})`
  return code === undefined ? 'no connection' : `no connection (${code})`
}
