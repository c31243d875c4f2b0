/** Content types of a page's files, by extension. */
export const MIME_TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const
export type Extension = keyof typeof MIME_TYPES

/** A Content-Security-Policy that allows files of the same origin only: no inline code, no `eval`, no framing. */
export function selfOnlyCsp({ images }: { readonly images: "'self'" | "'self' data:" }): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `img-src ${images}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
