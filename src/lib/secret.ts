/** Visible ASCII: what keys are made of, and nothing that could break out of a header, a URL or a log line. */
const KEY = /^[\x21-\x7e]+$/

/**
 * The key in a secret's text, less one trailing newline, which editors and `echo` leave; null when what is
 * left is no key.
 */
export function parseSecret(text: string): string | null {
  const key = text.replace(/\r?\n$/, '')
  return KEY.test(key) ? key : null
}
