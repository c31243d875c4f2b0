import type { Logger } from 'pino'
import type { Observer } from '../../events.ts'

/** From this usage of the quota in percent, the message is a warning. */
const QUOTA_WARNING_PERCENT = 95

/** Logs events. Every log message of the service is in this file or in main.ts; docs/logging.md lists them. */
export function createEventLog(log: Logger): Partial<Observer> {
  let isOutageLogged = false // one line when an outage begins and one when it ends, not one per probe
  return {
    requestFailed({ cause, ...failure }) {
      const line = cause === undefined ? failure : { ...failure, err: cause }
      if (failure.status >= 500) log.error(line, 'request failed')
      else log.info(line, 'client error')
    },
    accessLogged: (access) => log.info(access, 'request answered'),
    stateFileReplaced: (path, keptAs) => {
      log.warn({ path, keptAs }, 'state file unreadable, replaced by an empty one')
    },
    sharedCacheChanged: (up, reason) => {
      if (up) log.info('shared cache connected')
      else log.warn({ reason }, 'shared cache unavailable, continuing without it')
    },
    circuitChanged: (state) => {
      if (state === 'closed') log.info({ state }, 'circuit breaker closed')
      else if (isOutageLogged) log.debug({ state }, 'circuit breaker changed state')
      else log.warn({ state }, 'circuit breaker opened')
      isOutageLogged = state !== 'closed'
    },
    upstreamRejected: (rejection) => log.error(rejection, 'upstream rejected the API key or throttled it'),
    upstreamRecovered: () => log.info('upstream accepts calls again'),
    quotaSpent: (percent, remaining, resetAt) => {
      const line = { percent, remaining, resetAt }
      if (percent < QUOTA_WARNING_PERCENT) log.info(line, 'quota threshold reached')
      else log.warn(line, 'quota threshold reached')
    },
    clientsChanged: (clients) => log.info({ clients }, 'client keys reloaded'),
    clientsReloadFailed: (reason) =>
      log.warn({ reason }, 'client keys not reloaded, the current keys stay in effect'),
    keyRotated: () => log.info('upstream API key reloaded'),
    keyReloadFailed: (reason) =>
      log.warn({ reason }, 'upstream API key not reloaded, the current key stays in effect'),
  }
}
