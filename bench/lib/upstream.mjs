/** The upstream of the benchmarks: any station, after UPSTREAM_LATENCY ms. */
import { createServer } from 'node:http'
import { stationBody } from './stations.mjs'

const latencyMs = Number(process.env.UPSTREAM_LATENCY ?? 0)

createServer((request, response) => {
  const { searchParams } = new URL(request.url, 'http://upstream')
  const body = stationBody(searchParams.get('chargingAvailability') ?? '')
  setTimeout(() => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    response.end(body)
  }, latencyMs)
}).listen(Number(process.env.PORT), '127.0.0.1')
