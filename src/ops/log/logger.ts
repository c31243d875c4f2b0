import type { DestinationStream, Logger } from 'pino'
import { pino } from 'pino'
import { exceptionFields } from './fields.ts'

export interface LoggerOptions {
  readonly version: string
  readonly level: string
  /** The current secrets; read for every line, because keys are reloaded at run time. */
  readonly secrets: () => readonly string[]
  readonly destination: DestinationStream
}

/** Shorter secrets are not redacted, because they occur in ordinary words. */
const MIN_SECRET_LENGTH = 4

/** Writes JSON lines. Secrets are redacted from the finished line, so an error's message and cause are covered as well. */
export function createLogger({ version, level, secrets, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { 'service.name': 'ev-availability-proxy', 'service.version': version },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: ({ err, ...fields }: Record<string, unknown>) =>
        err === undefined ? fields : { ...fields, ...exceptionFields(err) },
    },
    hooks: { streamWrite: (line: string) => redact(line, secrets()) },
  }
  return pino(options, destination)
}

/** Replaces every spelling of the secrets with `[redacted]`. */
export function redact(line: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length >= MIN_SECRET_LENGTH)
    .flatMap(spellings)
    .reduce((text, spelling) => text.replaceAll(spelling, '[redacted]'), line)
}

/** The secret verbatim, URL-encoded, and JSON-escaped. */
function spellings(secret: string): string[] {
  return [...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)])]
}
