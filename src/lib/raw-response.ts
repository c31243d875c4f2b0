import { STATUS_CODES } from 'node:http'

/** A whole HTTP response, for a socket that has no response object; the caller sets the length and `connection`. */
export function rawResponse(status: number, headers: Readonly<Record<string, string>>, body: string): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`
}
