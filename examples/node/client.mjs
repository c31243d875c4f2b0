// A client without dependencies. As a program: node client.mjs http://127.0.0.1:8080 <station>
import { setTimeout as wait } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const ATTEMPTS = 3
const TIMEOUT_MS = 5_000
const MAX_WAIT_MS = 10_000

/** An error response of the proxy; `code` is stable, `trackingId` finds its log line. */
export class AvailabilityError extends Error {
  constructor(response, { detailedError: { code, message } }) {
    super(message)
    this.name = 'AvailabilityError'
    this.code = code
    this.status = response.status
    this.trackingId = response.headers.get('tracking-id')
  }
}

/**
 * The availability of a station, the age of the data in seconds, and whether it is stale.
 * A 429 or 503 is repeated after its Retry-After (in seconds), at most twice.
 * @throws AvailabilityError
 */
export async function availability(proxy, station, filter = {}) {
  const url = new URL('/search/2/chargingAvailability.json', proxy)
  url.search = new URLSearchParams({ chargingAvailability: station, ...filter }).toString()
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    const body = await response.json()
    if (response.ok) {
      const isStale = /ttl=-/.test(response.headers.get('cache-status'))
      return { station: body, ageSeconds: Number(response.headers.get('age')), isStale }
    }
    const waitMs = Number(response.headers.get('retry-after')) * 1000
    if (waitMs === 0 || waitMs > MAX_WAIT_MS || attempt === ATTEMPTS)
      throw new AvailabilityError(response, body)
    await wait(waitMs)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [proxy, station] = process.argv.slice(2)
  if (station === undefined) {
    console.error('usage: node client.mjs <proxy> <station>')
    process.exit(64)
  }
  console.log(JSON.stringify(await availability(proxy, station), null, 2))
}
