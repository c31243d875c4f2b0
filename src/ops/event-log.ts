import type { Logger } from 'pino'
import type { Observer } from '../observer.ts'

/** What the parts say happened, as log lines. Every message of the service is in this file or in main.ts. */
export function eventLog(log: Logger): Partial<Observer> {
  return {
    requestFailed({ cause, ...failure }) {
      const line = cause === undefined ? failure : { ...failure, err: cause }
      if (failure.status >= 500) log.error(line, 'request failed')
      else log.info(line, 'request refused')
    },
    accessed: (access) => log.info(access, 'request answered'),
    keyRotated: () => log.info('the upstream key has changed and is in force'),
    keyUnreadable: (reason) =>
      log.warn({ reason }, 'the upstream key cannot be read again; the key in force stays'),
  }
}
