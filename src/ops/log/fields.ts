import type { Access, RequestFailure } from '../../events.ts'

/*
 * Names of log fields. Errors, durations, traces, addresses and the service follow OpenTelemetry's semantic conventions,
 * as flat names with dots; durations are in seconds. docs/logging.md lists all fields.
 */

type Correlated = Pick<Access, 'traceId' | 'clientAddress'> & Pick<RequestFailure, 'userAgent'>

/** Renames the fields by which the lines of a request are found. */
export function requestFields<F extends Correlated>({ traceId, clientAddress, userAgent, ...others }: F) {
  return {
    ...others,
    ...(traceId !== undefined && { trace_id: traceId }),
    ...(clientAddress !== undefined && { 'client.address': clientAddress }),
    ...(userAgent !== undefined && { 'user_agent.original': userAgent }),
  }
}

/** An allow-list of an error's properties: libraries attach others, such as whole requests. */
export function exceptionFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { 'exception.message': String(error) }
  const { name, message, stack, cause } = error
  const { code } = error as NodeJS.ErrnoException
  return {
    'exception.type': name,
    'exception.message': message,
    'exception.stacktrace': stack,
    ...(code !== undefined && { 'error.type': code }),
    ...(cause instanceof Error && { 'exception.cause': cause.message }),
  }
}
