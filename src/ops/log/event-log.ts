import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import type { Observer, RequestFailure } from '../../events.ts'
import { requestFields } from './fields.ts'
import { LineLimit } from './line-limit.ts'
import { createUpstreamLog } from './upstream-log.ts'
import { LastingState } from './lasting-state.ts'

/** From this usage of the quota in percent, the message is a warning. */
const QUOTA_WARNING_PERCENT = 95

export interface EventLog {
  readonly observers: readonly Partial<Observer>[]
  /** Logs what is still to be reported; to be called before the process ends. */
  readonly flush: () => void
}

/**
 * Logs events. Every log message of the service is in this file, in upstream-log.ts or in main.ts; docs/logging.md lists
 * them.
 */
export function createEventLog(log: Logger, clock: Pick<Clock, 'now' | 'after'>): EventLog {
  const limit = new LineLimit(clock)
  return {
    // Few listeners, because each event asks every one of them.
    observers: [
      {
        ...requestLog(log, limit),
        ...keyLog(log),
        ...settingsLog(log),
        ...watchLog(log),
        ...sharedCacheLog(log, clock),
        ...fileDescriptorLog(log, clock),
      },
      createUpstreamLog(log, clock),
    ],
    flush: () => limit.flush(),
  }
}

function requestLog(log: Logger, limit: LineLimit): Partial<Observer> {
  return {
    requestFailed: (failure) => logFailure(log, limit, failure),
    accessLogged: ({ ms, ...access }) => {
      const line = { ...requestFields(access), 'http.server.request.duration': ms / 1_000 }
      log.info(line, 'request answered')
    },
    quotaSpent: (percent, remaining, resetAt) => {
      const line = { percent, remaining, resetAt }
      if (percent < QUOTA_WARNING_PERCENT) log.info(line, 'quota threshold reached')
      else log.warn(line, 'quota threshold reached')
    },
    quotaTooSmall: (shortfall) => {
      log.warn({ ...shortfall }, 'the quota is too small for the stations in use')
    },
  }
}

function logFailure(log: Logger, limit: LineLimit, { cause, ...failure }: RequestFailure): void {
  const { code, status, reason } = failure
  const isFailure = status >= 500
  const isAllowed = limit.allows(`${code} ${reason}`, (count) => {
    if (isFailure) log.error({ code, status, reason, count }, 'more like this')
    else log.info({ code, status, reason, count }, 'more like this')
  })
  if (!isAllowed) return
  const line = { ...requestFields(failure), ...(cause !== undefined && { err: cause }) }
  if (isFailure) log.error(line, 'request failed')
  else log.info(line, 'client error')
}

function keyLog(log: Logger): Partial<Observer> {
  return {
    clientsChanged: (clients) => log.info({ clients }, 'client keys reloaded'),
    clientsReloadFailed: (reason) =>
      log.warn({ reason }, 'client keys not reloaded, the current keys stay in effect'),
    keyRejectedAtStart: () => log.error('not ready: upstream rejected the API key at the start'),
    keyRotated: () => log.info('upstream API key reloaded'),
    keyReloadFailed: (reason) =>
      log.warn({ reason }, 'upstream API key not reloaded, the current key stays in effect'),
  }
}

function settingsLog(log: Logger): Partial<Observer> {
  return {
    settingsChanged: (settings) => log.info({ settings }, 'settings reloaded'),
    settingsReloadFailed: (reason) =>
      log.warn({ reason }, 'settings not reloaded, the current settings stay in effect'),
  }
}

function watchLog(log: Logger): Partial<Observer> {
  return {
    streamOpened: (trackingId, stations) => log.debug({ trackingId, stations }, 'stream opened'),
    streamClosed: (trackingId, reason, seconds, events) =>
      log.debug({ trackingId, reason, seconds, events }, 'stream closed'),
    watchFileLoaded: (stations) => log.info({ stations }, 'watched stations loaded'),
    watchFileLineSkipped: (line, reason) => log.warn({ line, reason }, 'line of WATCH_FILE skipped'),
    watchFileFailed: (reason) =>
      log.warn({ reason }, 'WATCH_FILE not read, the current stations stay in effect'),
  }
}

function sharedCacheLog(log: Logger, clock: Pick<Clock, 'now' | 'after'>): Partial<Observer> {
  const outage = new LastingState(clock)
  return {
    stateFileReplaced: (path, keptAs) =>
      log.warn({ path, keptAs }, 'state file unreadable, replaced by an empty one'),
    sharedCommandRejected: (reason) => log.error({ reason }, 'Redis rejected a command'),
    quotaMayBeEvicted: (policy) => log.warn({ policy }, 'Redis may evict the count of the quota'),
    purgePending: () => log.warn('purge kept until the shared cache is available'),
    purgeApplied: () => log.info('kept purges applied to the shared cache'),
    sharedCacheChanged: (up, reason) => {
      if (!up) {
        outage.begin(() => log.warn({ reason }, 'shared cache unavailable, continuing without it'))
        return
      }
      const wasDown = outage.end(({ seconds, times }) => {
        const line = { 'state.duration': seconds, times }
        log.info(line, 'shared cache connected')
      })
      if (!wasDown) log.info('shared cache connected')
    },
  }
}

function fileDescriptorLog(log: Logger, clock: Pick<Clock, 'now' | 'after'>): Partial<Observer> {
  const exhaustion = new LastingState(clock)
  let isExhausted = false
  return {
    fileDescriptorsExhausted: () => {
      if (isExhausted) return
      isExhausted = true
      exhaustion.begin(() => log.error('no file descriptors left, new connections are dropped'))
    },
    fileDescriptorsFreed: () => {
      isExhausted = false
      exhaustion.end(({ seconds, times }) => {
        const line = { 'state.duration': seconds, times }
        log.info(line, 'file descriptors available again')
      })
    },
  }
}
