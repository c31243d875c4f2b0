import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'

export interface CurrentSettings {
  /** The settings in force by name, secrets masked. */
  readonly inForce: Readonly<Record<string, string>>
  /** When SETTINGS_FILE last changed them, in ms since the epoch; null if it has not. */
  readonly changedAt: number | null
  /** Why SETTINGS_FILE is not applied; null if it is, or is not configured. */
  readonly problem: string | null
}

/** The settings in force, which SETTINGS_FILE changes at run time. */
export class SettingsState {
  current: CurrentSettings
  readonly observer: Partial<Observer>

  constructor(atStart: Readonly<Record<string, string>>, clock: Pick<Clock, 'wall'>) {
    this.current = { inForce: withoutPaths(atStart), changedAt: null, problem: null }
    this.observer = {
      settingsChanged: (settings) => {
        const merged = Object.entries({ ...this.current.inForce, ...settings })
        const inForce = Object.fromEntries(merged.filter(([, text]) => text !== ''))
        this.current = { inForce, changedAt: clock.wall(), problem: null }
      },
      settingsReloadFailed: (problem) => {
        this.current = { ...this.current, problem }
      },
      settingsReloadRecovered: () => {
        this.current = { ...this.current, problem: null }
      },
    }
  }
}

/** The page has no login, so it does not show where files of secrets are; the start line of the log does. */
function withoutPaths(settings: Readonly<Record<string, string>>): Record<string, string> {
  const shown = Object.entries(settings).map(([name, text]) =>
    name.endsWith('_FILE') && name !== 'SETTINGS_FILE' ? [name, '(a file)'] : [name, text],
  )
  return Object.fromEntries(shown) as Record<string, string>
}
