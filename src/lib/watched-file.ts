import type { Clock } from './clock.ts'
import { readSmallFile } from './small-file.ts'

/** Interval of reading. Kubernetes replaces secrets by swapping a symlink, which file watchers miss. */
export const READ_EVERY_MS = 5_000

export interface WatchOptions<T> {
  /** @throws Error whose message repeats nothing of the text, since it is logged */
  readonly parse: (text: string) => T
  /** The maximum size of the file; 64 KB if absent. */
  readonly maxBytes?: number | undefined
  readonly isSame: (one: T, other: T) => boolean
  /** The file has another value, which is in force now. */
  readonly onChange: (value: T) => void
  /** The file cannot be read or parsed; the last value stays in force. Called once per reason until the file is valid. */
  readonly onError: (reason: string) => void
  /** The file is valid again after an error; called before `onChange`. */
  readonly onRecovery?: () => void
  readonly clock: Pick<Clock, 'after'>
  /** The value while the file has never been valid; without it, an invalid file at the start is an Error. */
  readonly initial?: T
}

export interface WatchedFile<T> {
  readonly current: () => T
  readonly stop: () => void
}

/**
 * The parsed content of a small file that is read again every few seconds, so that a secret can be rotated at run time.
 * @throws Error when the first read or parse fails; the message does not repeat the content
 */
export function watchFile<T>(file: string, options: WatchOptions<T>): WatchedFile<T> {
  const { parse, isSame, onChange, onError, onRecovery, clock } = options
  let lastError: string | null = null
  let lastText: string | null = null
  const fail = (error: unknown) => {
    const reason = messageOf(error)
    if (reason !== lastError) onError(reason)
    lastError = reason
  }
  let value = readFirst(file, options, fail)
  let stopped = false
  let cancel: (() => void) | null = null

  const reload = () => {
    try {
      const text = readSmallFile(file, options.maxBytes)
      if (text === lastText && lastError === null) return
      const next = parse(text)
      lastText = text
      if (lastError !== null) onRecovery?.()
      lastError = null
      if (!isSame(next, value)) {
        value = next
        onChange(next)
      }
    } catch (error) {
      fail(error)
    } finally {
      schedule()
    }
  }
  const schedule = () => {
    if (!stopped) cancel = clock.after(READ_EVERY_MS, reload)
  }
  schedule()
  return {
    current: () => value,
    stop: () => {
      stopped = true
      cancel?.()
    },
  }
}

function readFirst<T>(
  file: string,
  { parse, initial, maxBytes }: WatchOptions<T>,
  onError: (error: unknown) => void,
): T {
  try {
    return parse(readSmallFile(file, maxBytes))
  } catch (error) {
    if (initial === undefined) throw error
    onError(error)
    return initial
  }
}

/** Node's messages contain the path, which is not secret. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
