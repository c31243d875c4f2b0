import { copyString } from '../../lib/copy-string.ts'

/** In characters. The log has the full text; the limit bounds memory, which bench/parts/page.mjs measures. */
export const MAX_TEXT_LENGTH = 200

/** The beginning of a text, as a string of its own; null without a text. */
export function truncated(text: string | undefined): string | null {
  return text === undefined ? null : copyString(text.slice(0, MAX_TEXT_LENGTH))
}
