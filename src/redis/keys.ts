import { createHash } from 'node:crypto'

/** Every key begins so. The number is raised when the form of a value changes, so that versions can run side by side. */
export const PREFIX = 'evproxy:1:'

export const PROBE_KEY = 'probe'

/** A list: when tokens are used, in ms since the epoch, the oldest first. */
export const TOKENS_KEY = 'tokens'

/** A hash: the usage of the current day or month. */
export function quotaKey(per: 'day' | 'month'): string {
  return `quota:${per}`
}

/** A station's answer. */
export function answerKey(id: string): string {
  return `answer:${hashTag(id)}`
}

/** Who may call for a station, or the error that the last call ended in. */
export function leaseKey(id: string): string {
  return `lease:${hashTag(id)}`
}

/** The cool-down of an API key. */
export function coolDownKey(apiKey: string): string {
  return `cool-down:${fingerprint(apiKey)}`
}

/** The right to probe with an API key. */
export function coolDownProbeKey(apiKey: string): string {
  return `cool-down-probe:${fingerprint(apiKey)}`
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
