import { randomUUID } from 'node:crypto'

/** The pattern of the endpoint's reference. */
const TRACKING_ID = /^[a-zA-Z0-9-]{1,100}$/

/** The caller's own Tracking-ID if it has the documented form, else a fresh one. */
export function trackingIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && TRACKING_ID.test(header) ? header : randomUUID()
}
