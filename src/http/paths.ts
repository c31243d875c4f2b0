import { pathOf } from './request-target.ts'

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

/** The methods of a path, as the value of `Allow` and of `Access-Control-Allow-Methods`. */
export function allowedMethods(target: string): string {
  return isBatchPath(target) ? 'POST, OPTIONS' : 'GET, OPTIONS'
}
