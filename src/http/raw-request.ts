import type { IncomingHttpHeaders } from 'node:http'

/** What Node tells of bytes that its parser refused. */
export interface ParserError extends NodeJS.ErrnoException {
  /** The bytes that were being read: as a rule the whole head, and what came before it on a busy connection. */
  readonly rawPacket?: unknown
  /** How many of them were good. */
  readonly bytesParsed?: number | undefined
}

/** What a request without a life cycle is known by. */
export interface RawRequest {
  readonly method: string
  /** Empty where none can be made out. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
}

/** What an answer depends on; nothing else is read of a request that is not valid. */
const HEADERS = ['origin', 'tracking-id'] as const
const END = '\r\n\r\n'

/**
 * What can be made out of a request that the parser refused, so that its answer has the format and the headers that
 * were asked for. None of it can be trusted: the bytes are what nobody could read.
 */
export function parseRawRequest({ rawPacket, bytesParsed = 0 }: ParserError): RawRequest {
  const text = Buffer.isBuffer(rawPacket) ? rawPacket.toString('latin1') : ''
  // The last head that ended before the fault is that of the request before; the fault may lie in this one's own end.
  const before = bytesParsed > END.length ? text.lastIndexOf(END, bytesParsed - END.length - 1) : -1
  const [head = ''] = text.slice(before === -1 ? 0 : before + END.length).split(END, 1)
  const [, method = '', target = ''] = /^([A-Z]{1,32}) (\S+)/.exec(head) ?? []
  const headers = HEADERS.flatMap((name) => {
    const value = new RegExp(`^${name}:[ \\t]*([^\\r\\n]*?)[ \\t]*\\r?$`, 'im').exec(head)?.[1]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { method, target, headers: Object.fromEntries(headers) }
}
