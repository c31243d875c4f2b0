export type Mask = (text: string) => string

const MASKED = '[key]'

/**
 * Replaces every spelling of the key: as it is, in another case, and with any of its characters percent-encoded (once or
 * more often), as an escape of JSON, or as a reference of XML. Upstream's errors may repeat the key in any of them.
 */
export function createMask(key: string): Mask {
  const spelling = new RegExp(Array.from(key, spellings).join(''), 'gi')
  return (text) => text.replace(spelling, MASKED)
}

const XML_NAMES: Readonly<Record<string, string>> = {
  '&': 'amp',
  '<': 'lt',
  '>': 'gt',
  '"': 'quot',
  "'": 'apos',
}

function spellings(character: string): string {
  const code = character.charCodeAt(0)
  const hex = code.toString(16).padStart(2, '0')
  const name = XML_NAMES[character]
  const all = [
    `\\\\?\\x${hex}`, // JSON may put a backslash before it
    `%(?:25)*${hex}`,
    `\\\\u00${hex}`,
    `&#0*${code};`,
    `&#x0*${hex};`,
    ...(name === undefined ? [] : [`&${name};`]),
  ]
  return `(?:${all.join('|')})`
}
