import type { Clock } from '../../lib/clock.ts'
import type { Observer } from '../../events.ts'
import type { SecretSource } from '../../lib/secret.ts'
import { parseSecret } from '../../lib/secret.ts'
import { watchFile } from '../../lib/watched-file.ts'

/** The key in use. Its file is watched, so that it can be rotated while the service runs. */
export interface ApiKey {
  readonly current: () => string
  /** Every key in use since the start: all must be redacted. */
  readonly secrets: () => readonly string[]
  readonly stop: () => void
}

/**
 * Reads the key, and its file again every few seconds. If the file is empty or gone later, the key stays in use.
 * @throws Error when the file cannot be read at the start or contains no key; its message never includes the content
 */
export function openApiKey(
  setting: SecretSource<string>,
  deps: {
    readonly clock: Pick<Clock, 'after'>
    readonly observer: Pick<Observer, 'keyRotated' | 'keyReloadFailed' | 'keyFileChecked'>
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
      secrets.push(key)
      deps.observer.keyRotated()
    },
    onError: (reason) => {
      deps.observer.keyReloadFailed(reason)
      deps.observer.keyFileChecked('api_key', false)
    },
    onRecovery: () => deps.observer.keyFileChecked('api_key', true),
    clock: deps.clock,
  })
  const secrets = [current()]
  return { current, secrets: () => secrets, stop }
}

function parseKey(text: string): string {
  const key = parseSecret(text)
  if (key === null) throw new Error('the file holds no key: one line of visible ASCII characters is expected')
  return key
}
