/**
 * The upstream of the benchmarks: any station, filtered, after UPSTREAM_LATENCY ms; above UPSTREAM_LIMIT calls in any
 * second 429. `Cache-Control: no-cache`, as TomTom sends. `/calls` returns the number of calls and how many of them were rejected.
 */
import { createServer } from 'node:http'
import { gzipSync } from 'node:zlib'
import { filterAvailability } from '../../dist/availability/filter.js'
import { renderJson } from '../../dist/availability/json.js'
import { parseQuery } from '../../dist/availability/query.js'
import { renderXml } from '../../dist/availability/xml.js'
import { stationBody } from './stations.mjs'

const latencyMs = Number(process.env.UPSTREAM_LATENCY ?? 0)
const limit = Number(process.env.UPSTREAM_LIMIT ?? 0)
const count = { calls: 0, refused: 0 }
/** When the calls of the last second were let through. */
const accepted = []

// Idle connections outlive the caches' own limits, so that none is closed under a request.
createServer({ keepAliveTimeout: 72_000 }, (request, response) => {
  if (request.url === '/calls') {
    response.end(JSON.stringify(count))
    return
  }
  count.calls++
  if (isOverLimit()) {
    count.refused++
    response.writeHead(429, { 'content-type': 'text/plain' }).end('Too many requests')
  } else if (latencyMs === 0) answer(request, response)
  else setTimeout(answer, latencyMs, request, response)
}).listen(Number(process.env.PORT), '127.0.0.1')

function isOverLimit() {
  if (limit === 0) return false
  const now = performance.now()
  while (accepted.length > 0 && accepted[0] <= now - 1_000) accepted.shift()
  if (accepted.length >= limit) return true
  accepted.push(now)
  return false
}

function answer({ url, headers }, response) {
  const at = url.indexOf('?')
  const query = parseQuery(url.slice(at + 1))
  const left = filterAvailability(JSON.parse(stationBody(query.id)), query)
  const xml = url.slice(0, at).endsWith('.xml')
  const text = Buffer.from(xml ? renderXml(left) : renderJson(left))
  const gzip = /\bgzip\b/.test(headers['accept-encoding'] ?? '')
  const body = gzip ? gzipSync(text) : text
  response.writeHead(200, {
    'content-type': `application/${xml ? 'xml' : 'json'}; charset=utf-8`,
    'content-length': body.length,
    'cache-control': 'no-cache',
    vary: 'Accept-Encoding',
    ...(gzip && { 'content-encoding': 'gzip' }),
  })
  response.end(body)
}
