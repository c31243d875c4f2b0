import { pathOf } from './request-target.ts'

/** The proxied resource, without the extension that names a format. */
export const AVAILABILITY_PATH = '/search/2/chargingAvailability'
const AVAILABILITY = /^\/search\/2\/chargingAvailability\.([^/?#]*)(?=[?#]|$)/

/** Whether a target names the proxied resource, in any format. */
export function isAvailabilityPath(target: string): boolean {
  return AVAILABILITY.test(target)
}

/** The extension of the proxied resource, which names a format; undefined for another path. */
export function extensionOf(target: string): string | undefined {
  return AVAILABILITY.exec(target)?.[1]
}

/** Lists of stations in one request. Everything else below the root is a 404. */
export const BATCH_PATH = '/search/2/batch/sync.json'
const BATCH_ROOT = '/search/2/batch'

export function isBatchPath(target: string): boolean {
  return pathOf(target) === BATCH_PATH
}

export function isBelowBatch(target: string): boolean {
  return target.startsWith(BATCH_ROOT)
}

/** Live updates. */
export const EVENTS_PATH = '/events'

export function isEventsPath(target: string): boolean {
  return pathOf(target) === EVENTS_PATH
}

/** The methods of the proxied route, which like the endpoint has no HEAD. */
const PROXIED_METHODS = 'GET, OPTIONS'

/** The methods of a path, as the value of `Allow`. The target of CONNECT is no path. */
export function allowedMethods(target: string): string {
  if (isBatchPath(target)) return 'POST, OPTIONS'
  const hasHead = target.startsWith('/') && !isAvailabilityPath(target)
  return hasHead ? 'GET, HEAD, OPTIONS' : PROXIED_METHODS
}

/** The methods of a path for other origins, as the value of `Access-Control-Allow-Methods`. HEAD needs no permission. */
export function methodsOfPreflight(target: string): string {
  return isBatchPath(target) ? allowedMethods(target) : PROXIED_METHODS
}
