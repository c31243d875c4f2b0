/** https://www.w3.org/TR/trace-context/#traceparent-header: version, trace-id, parent-id, flags. */
const TRACEPARENT =
  /^(?!ff)(?<version>[0-9a-f]{2})-(?<traceId>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?<more>-.*)?$/

/**
 * The trace that a request belongs to, by its `traceparent` header; null without a valid one. Versions that are not
 * known yet may say more behind the known part; version 00 may not.
 */
export function traceIdOf(header: string | string[] | undefined): string | null {
  if (typeof header !== 'string') return null
  const { version, traceId, more } = TRACEPARENT.exec(header)?.groups ?? {}
  return traceId === undefined || (version === '00' && more !== undefined) ? null : traceId
}
