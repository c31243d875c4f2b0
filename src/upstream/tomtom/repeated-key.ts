import type { Availability } from '../../availability/model.ts'

/** A shorter key could be part of a normal answer. */
const MIN_KEY_LENGTH = 8

/** Whether an answer repeats the key. `text` is the body from which it was decoded. */
export type RepeatsKey = (availability: Availability, text: string) => boolean

/**
 * Finds the key in any spelling: each of its characters as it is or percent-encoded, once or more often, with any escapes
 * of JSON. Searched once in the text itself: a decoded copy would lose a key that contains percent signs.
 */
export function findsKey(key: string): RepeatsKey {
  if (key.length < MIN_KEY_LENGTH) return () => false
  const spelling = new RegExp(Array.from(key, spellingsOf).join(''))
  // Without a backslash nothing is escaped; JSON.stringify writes as few escapes as there can be.
  return (availability, text) => spelling.test(text.includes('\\') ? JSON.stringify(availability) : text)
}

/** The finder of a key; that of the newest is kept. */
export function createKeyFinder(): (key: string) => RepeatsKey {
  let newest = { key: '', find: findsKey('') }
  return (key) => {
    if (newest.key !== key) newest = { key, find: findsKey(key) }
    return newest.find
  }
}

function spellingsOf(character: string): string {
  const literal = Array.from(inJson(character), (one) => `\\x${hexOf(one)}`).join('')
  const digits = hexOf(character).replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
  return `(?:${literal}|%(?:25)*${digits})`
}

function hexOf(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, '0')
}

/** The text as it appears within a JSON string. */
function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
