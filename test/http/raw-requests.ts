import type { RawResponse } from '../support/raw-http.ts'

/** Part of everything that a request can contain; no response may contain it. */
export const CANARY = 'cAnArY7'
export const TARGET = `/search/2/chargingAvailability.json?chargingAvailability=a&note=${CANARY}`
export const XML_TARGET = TARGET.replace('.json', '.xml')
export const HOST = 'Host: proxy.example\r\n'
export const CLOSE = 'Connection: close\r\n'

/** An HTTP/1.1 request that closes its connection. */
export function getAndClose(target: string, headers = ''): string {
  return `GET ${target} HTTP/1.1\r\n${HOST}${CLOSE}${headers}\r\n`
}

/** A request for a station that keeps its connection open. */
export function getAndKeep(id: string): string {
  return `GET /search/2/chargingAvailability.json?chargingAvailability=${id} HTTP/1.1\r\n${HOST}\r\n`
}

/** The response without interim ones (100 Continue). */
export function finalResponse({ text: raw }: RawResponse) {
  const final = raw.replace(/^(HTTP\/1\.1 1\d\d [^\r]*\r\n\r\n)+/, '')
  const [head = '', ...body] = final.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
  })
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: Object.fromEntries(headers) as Record<string, string>,
    text: body.join('\r\n\r\n'),
    raw,
  }
}

/** The statuses of all responses on a connection. */
export function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}
