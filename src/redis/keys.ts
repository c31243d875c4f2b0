import { createHash } from 'node:crypto'

/**
 * Every key but the quota's begins so. The number is raised when the form of a value changes, so that versions can run
 * side by side.
 */
export const PREFIX = 'evproxy:1:'
/** The quota has a version of its own: another form of the answers must not begin another account. */
const QUOTA_PREFIX = 'evproxy:quota:1:'

export const PROBE_KEY = `${PREFIX}probe`

/** A list: when tokens are used, in ms since the epoch, the oldest first. */
export const TOKENS_KEY = `${PREFIX}tokens`

/** A hash: when the last calls were sent, in ms since the epoch. */
export const SENT_KEY = `${PREFIX}sent`

/** A hash: the usage of the current day or month. */
export function quotaKey(per: 'day' | 'month'): string {
  return `${QUOTA_PREFIX}{${per}}`
}

/** A hash: calls of the current day or month by client. */
export function quotaClientsKey(per: 'day' | 'month'): string {
  return `${QUOTA_PREFIX}{${per}}:clients`
}

/** The latest price of a call under the quota in s, and the replica that it is of. */
export const PRICE_KEY = `${PREFIX}price`

/** What pacing has learned, as JSON. */
export const LEARNED_KEY = `${PREFIX}pacing`

/** Calls that found no station and are not refilled yet, and when that was. */
export const UNKNOWN_IDS_KEY = `${PREFIX}unknown-ids`

/** A station's answer. */
export function answerKey(id: string): string {
  return `${PREFIX}answer:${hashTag(id)}`
}

/** What pacing knows of a station. */
export function stationKey(id: string): string {
  return `${PREFIX}station:${hashTag(id)}`
}

/** Who may call for a station, or the error that the last call ended in. */
export function leaseKey(id: string): string {
  return `${PREFIX}lease:${hashTag(id)}`
}

/** Present if a station was purged in the last ten minutes. */
export function purgedKey(id: string): string {
  return `${PREFIX}purged:${hashTag(id)}`
}

/** A sorted set: the latest purges. */
export const PURGES_KEY = `${PREFIX}purges`

/** The keys of every answer and every lease, for SCAN. */
export const STATION_PATTERNS = ['answer:{*}', 'lease:{*}'] as const

/** The station of an answer's or a lease's key, with its prefix. */
export function stationOf(key: string): string {
  return decodeURIComponent(key.slice(key.indexOf('{') + 1, -1))
}

/** The cool-down of an API key. */
export function coolDownKey(apiKey: string): string {
  return `${PREFIX}cool-down:${fingerprint(apiKey)}`
}

/** The right to probe with an API key. */
export function coolDownProbeKey(apiKey: string): string {
  return `${PREFIX}cool-down-probe:${fingerprint(apiKey)}`
}

/** A cluster keeps keys with the same text in braces in one slot. Encoded, an id has no braces of its own. */
function hashTag(id: string): string {
  return `{${encodeURIComponent(id)}}`
}

/** 64 bits of a hash, from which the API key cannot be found. */
function fingerprint(apiKey: string): string {
  return createHash('sha256').update(apiKey).digest('hex').slice(0, 16)
}

/** The channel of `version id` for every answer that was stored. */
export const PUBLISHED_CHANNEL = 'published'
/** The channel of every station that was purged, and of purges of all. */
export const PURGED_CHANNEL = 'purged'
