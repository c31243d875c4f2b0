import type { DestinationStream, Logger } from 'pino'
import { pino } from 'pino'

export interface LoggerOptions {
  readonly level: string
  /** The secrets in force at the moment of a line. */
  readonly secrets: () => readonly string[]
  /** Standard output when absent. */
  readonly destination?: DestinationStream
}

/** A shorter secret is part of too many harmless words to be taken out of them. */
const SHORTEST_REDACTED = 4

/**
 * JSON lines. Whatever a line was made of, an error's text or its cause, it passes one choke point in which
 * every spelling of a secret is taken out.
 */
export function createLogger({ level, secrets, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { service: 'ev-availability-proxy' },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    hooks: { streamWrite: (line: string) => redact(line, secrets()) },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

/** What helps of an error; not every property that somebody hung on it. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) }
  const { name, message, stack } = error
  const { code } = error as NodeJS.ErrnoException
  return {
    type: name,
    message,
    code,
    stack,
    cause: error.cause instanceof Error ? error.cause.message : undefined,
  }
}

/** The text without the secrets, in whatever spelling. */
export function redact(line: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret.length >= SHORTEST_REDACTED)
    .flatMap(spellings)
    .reduce((text, spelling) => text.replaceAll(spelling, '[redacted]'), line)
}

/** As it is, as part of a URL, and as JSON writes it. */
function spellings(secret: string): string[] {
  return [...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)])]
}
