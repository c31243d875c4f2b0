import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Clock } from './clock.ts'

/** How often a file is read. Secrets are swapped by symlink (Kubernetes), which file watchers miss. */
export const READ_EVERY_MS = 5_000

export interface WatchOptions<T> {
  /** @throws Error that repeats nothing of the text, for its message is told */
  readonly parse: (text: string) => T
  readonly isSame: (one: T, other: T) => boolean
  /** Another value is in force. */
  readonly changed: (value: T) => void
  /** The file cannot be used, and the value in force stays; told once until it can be used again, or the reason changes. */
  readonly unusable: (reason: string) => void
  readonly clock: Pick<Clock, 'after'>
}

export interface WatchedFile<T> {
  readonly current: () => T
  readonly stop: () => void
}

/**
 * What a file holds, read again every few seconds: a secret may be rotated under a running service.
 * @throws Error when the file cannot be read or parsed at the start; it never repeats the content
 */
export function watchFile<T>(
  file: string,
  { parse, isSame, changed, unusable, clock }: WatchOptions<T>,
): WatchedFile<T> {
  let value = parse(readFileSync(file, 'utf8'))
  let trouble: string | null = null
  let stopped = false
  let cancel: (() => void) | null = null

  const readAgain = async () => {
    try {
      const read = parse(await readFile(file, 'utf8'))
      trouble = null
      if (!isSame(read, value)) {
        value = read
        changed(read)
      }
    } catch (error) {
      const reason = reasonOf(error)
      if (reason !== trouble) unusable(reason)
      trouble = reason
    }
    schedule()
  }
  const schedule = () => {
    if (!stopped) cancel = clock.after(READ_EVERY_MS, () => void readAgain())
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

/** Node's messages name the path, which is no secret; those of `parse` name nothing. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
