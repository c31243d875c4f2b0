/**
 * An upstream that answers every call at once and notes when it arrived. `/arrivals` returns these times in ms, and the
 * longest delay of its own event loop, by which an arrival may be noted too late.
 */
import { createServer } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const arrivals = []
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()

createServer({ keepAliveTimeout: 72_000 }, ({ url }, response) => {
  const now = performance.now()
  if (url === '/arrivals') {
    response.end(JSON.stringify({ arrivals, longestDelayMs: delay.max / 1e6 }))
    return
  }
  arrivals.push(now)
  const chargingAvailability = new URL(url, 'http://upstream').searchParams.get('chargingAvailability')
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ connectors: [], chargingAvailability }))
}).listen(Number(process.env.PORT), '127.0.0.1')
