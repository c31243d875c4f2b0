import type { Config } from './config/load.ts'
import type { Observer, UpstreamOutcome, UpstreamRejection } from './events.ts'
import type { Health } from './ops/health.ts'

export interface ReadyDeps {
  readonly config: Pick<Config, 'checkKeyAtStart'>
  readonly health: Health
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
}

/** Upstream accepted the key of such a call. */
const ACCEPTED: ReadonlySet<UpstreamOutcome> = new Set(['ok', 'empty', 'bad_request', 'not_found'])

/** Ready at once, or after the check of the API key; if that fails, once a changed key or any call is accepted. */
export function becomeReady(
  { config, health, observer, subscribe }: ReadyDeps,
  checkKey: () => Promise<UpstreamRejection | null>,
): void {
  if (!config.checkKeyAtStart) {
    health.markReady()
    return
  }
  const check = async () => {
    const rejection = await checkKey()
    if (rejection === null) {
      health.markReady()
      return
    }
    observer.upstreamRejected(rejection)
    observer.keyRejectedAtStart()
  }
  subscribe({
    keyRotated: () => void (health.phase === 'starting' && check()),
    upstreamAnswered: (outcome) => ACCEPTED.has(outcome) && health.markReady(),
  })
  void check()
}
