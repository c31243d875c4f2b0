import type { Logger } from 'pino'
import type { Observer } from '../../events.ts'

/** What the parts say happened, as log lines. Every message of the service is in this file or in main.ts. */
export function createEventLog(log: Logger): Partial<Observer> {
  let isDown = false // told of: an outage is one line, and its end another
  return {
    requestFailed({ cause, ...failure }) {
      const line = cause === undefined ? failure : { ...failure, err: cause }
      if (failure.status >= 500) log.error(line, 'request failed')
      else log.info(line, 'request refused')
    },
    accessLogged: (access) => log.info(access, 'request answered'),
    sharedCacheChanged: (up, reason) => {
      if (up) log.info('the shared tier is there')
      else log.warn({ reason }, 'the shared tier is away: this replica goes on by itself')
    },
    circuitChanged: (state) => {
      if (state === 'closed') log.info({ state }, 'the circuit to upstream is closed: calls are made again')
      else if (isDown) log.debug({ state }, 'the circuit to upstream has changed')
      else log.warn({ state }, 'the circuit to upstream is open: it fails, no calls are made for now')
      isDown = state !== 'closed'
    },
    upstreamRejected: (refusal) => log.error(refusal, 'upstream refuses our calls'),
    upstreamRecovered: () => log.info('upstream accepts our calls again'),
    quotaSpent: (percent, remaining, resetAt) => {
      const line = { percent, remaining, resetAt }
      if (percent < 95) log.info(line, 'quota spent')
      else log.warn(line, 'quota spent')
    },
    clientsChanged: (clients) => log.info({ clients }, 'the client keys have changed and are in force'),
    clientsReloadFailed: (reason) =>
      log.warn({ reason }, 'the client keys cannot be read again; the keys in force stay'),
    keyRotated: () => log.info('the upstream key has changed and is in force'),
    keyReloadFailed: (reason) =>
      log.warn({ reason }, 'the upstream key cannot be read again; the key in force stays'),
  }
}
