/** The most that Node's own server can do: a fixed body with as many headers as the proxy sends. */
import { createServer } from 'node:http'
import { gzipSync } from 'node:zlib'
import { stationBody } from '../lib/stations.mjs'

const plain = Buffer.from(stationBody('station-0'))
const gzipped = gzipSync(plain)
const headers = {
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

createServer((request, response) => {
  if (request.headers['if-none-match'] !== undefined) {
    response.writeHead(304, headers).end()
  } else if (request.headers['accept-encoding'] === 'gzip') {
    response
      .writeHead(200, { ...headers, 'content-encoding': 'gzip', 'content-length': gzipped.length })
      .end(gzipped)
  } else {
    response.writeHead(200, { ...headers, 'content-length': plain.length }).end(plain)
  }
}).listen(Number(process.env.PORT), '127.0.0.1')
