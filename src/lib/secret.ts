/** A secret that is configured directly, or in a file that is read at the start and again when it changes. */
export type SecretSource<T> = { readonly value: T } | { readonly file: string }

/** Visible ASCII: nothing that could break out of a header, a URL or a log line. */
const SECRET = /^[\x21-\x7e]+$/

/** The secret in a text, without the one trailing newline that editors and `echo` add; null if the text is invalid. */
export function parseSecret(text: string): string | null {
  const secret = text.replace(/\r?\n$/, '')
  return SECRET.test(secret) ? secret : null
}
