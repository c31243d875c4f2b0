import type { Clock } from '../../lib/clock.ts'
import type { Observer } from '../../events.ts'
import type { SecretSource } from '../../lib/secret.ts'
import { parseSecret } from '../../lib/secret.ts'
import { watchFile } from '../../lib/watched-file.ts'

/** The key in force; watched in its file, for a secret may be rotated under a running service. */
export interface ApiKey {
  readonly current: () => string
  /** Every key that was in force since the start: none of them may ever be shown. */
  readonly secrets: () => readonly string[]
  readonly stop: () => void
}

/**
 * Reads the key, and again every few seconds while the service runs. A file that is empty or gone later leaves
 * the key in force.
 * @throws Error when the file cannot be read at the start or holds no key; it never repeats the content
 */
export function openApiKey(
  setting: SecretSource<string>,
  parts: {
    readonly clock: Pick<Clock, 'after'>
    readonly observer: Pick<Observer, 'keyRotated' | 'keyReloadFailed'>
  },
): ApiKey {
  if ('value' in setting) {
    const { value } = setting
    return { current: () => value, secrets: () => [value], stop: () => {} }
  }
  const { current, stop } = watchFile(setting.file, {
    parse: parseKey,
    isSame: Object.is,
    onChange: (key) => {
      known.push(key)
      parts.observer.keyRotated()
    },
    onError: (reason) => parts.observer.keyReloadFailed(reason),
    clock: parts.clock,
  })
  const known = [current()]
  return { current, secrets: () => known, stop }
}

function parseKey(text: string): string {
  const key = parseSecret(text)
  if (key === null) throw new Error('the file holds no key: one line of visible ASCII characters is expected')
  return key
}
