import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import type { Observer } from '../observer.ts'
import { parseSecret } from '../secret.ts'

export type KeySetting = { readonly value: string } | { readonly file: string }

/** The key in force; watched in its file, for a secret may be rotated under a running service. */
export interface ApiKey {
  readonly current: () => string
  /** Every key that was in force since the start: none of them may ever be shown. */
  readonly known: () => readonly string[]
  readonly stop: () => void
}

/** How often the file is read. Secrets are swapped by symlink (Kubernetes), which file watchers miss. */
export const READ_EVERY_MS = 5_000

/**
 * Reads the key, and again every few seconds while the service runs. A file that is empty or gone later leaves
 * the key in force.
 * @throws Error when the file cannot be read at the start or holds no key; it never repeats the content
 */
export function openApiKey(
  setting: KeySetting,
  parts: {
    readonly clock: Pick<Clock, 'after'>
    readonly observer: Pick<Observer, 'keyRotated' | 'keyUnreadable'>
  },
): ApiKey {
  if ('value' in setting) {
    const { value } = setting
    return { current: () => value, known: () => [value], stop: () => {} }
  }
  let key = parseKey(readFileSync(setting.file, 'utf8'))
  const known = [key]
  let trouble: string | null = null
  let stopped = false
  let cancel: (() => void) | null = null

  const readAgain = async () => {
    try {
      const read = parseKey(await readFile(setting.file, 'utf8'))
      trouble = null
      if (read !== key) {
        key = read
        known.push(key)
        parts.observer.keyRotated()
      }
    } catch (error) {
      const reason = reasonOf(error)
      if (reason !== trouble) parts.observer.keyUnreadable(reason)
      trouble = reason
    }
    schedule()
  }
  const schedule = () => {
    if (!stopped) cancel = parts.clock.after(READ_EVERY_MS, () => void readAgain())
  }
  schedule()
  return {
    current: () => key,
    known: () => known,
    stop: () => {
      stopped = true
      cancel?.()
    },
  }
}

function parseKey(text: string): string {
  const key = parseSecret(text)
  if (key === null) throw new Error('the file holds no key: one line of visible ASCII characters is expected')
  return key
}

/** Node's messages name the path, which is no secret; parseKey's name nothing. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
