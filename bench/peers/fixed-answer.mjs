/** What servers send that do no more than send: one station, with the headers of the proxy's answers. */
import { gzipSync } from 'node:zlib'
import { stationBody, stationId } from '../lib/stations.mjs'

export const plain = Buffer.from(stationBody(stationId(0)))
export const gzipped = gzipSync(plain)
export const headers = {
  'tracking-id': '40eee3b8-8918-473f-98f5-64ba358d43a7',
  'x-content-type-options': 'nosniff',
  vary: 'Accept-Encoding',
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Tracking-ID, Retry-After, Age, Cache-Status, ETag',
  'cache-control': 'no-cache',
  etag: '"RZW870og0p-MljaWvuNJUw"',
  age: '3',
  'cache-status': 'ev-availability-proxy; hit; ttl=27',
  'content-type': 'application/json; charset=utf-8',
}
