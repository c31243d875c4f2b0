import type { Config } from './config/load.ts'
import type { RuntimeSettings } from './config/runtime-settings.ts'
import { watchRuntimeSettings } from './config/runtime-settings.ts'
import type { Observer } from './events.ts'
import type { Clock } from './lib/clock.ts'

export interface SettingsDeps {
  readonly config: Config
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Observer
}

/** Applies SETTINGS_FILE when it changes: first to `config`, then by `apply`, which gets what was in force before. */
export function watchSettings(
  { config, clock, observer }: SettingsDeps,
  apply: (before: RuntimeSettings) => void,
): () => void {
  let current: RuntimeSettings = {
    cache: { ...config.cache },
    upstream: { ...config.upstream },
    log: { ...config.log },
    effective: {},
  }
  return watchRuntimeSettings(config, {
    clock,
    onChange: (next) => {
      Object.assign(config.cache, next.cache)
      Object.assign(config.upstream, next.upstream)
      Object.assign(config.log, next.log)
      apply(current)
      current = next
      observer.settingsChanged(next.effective)
    },
    onError: (reason) => observer.settingsReloadFailed(reason),
    onRecovery: () => observer.settingsReloadRecovered(),
  })
}
