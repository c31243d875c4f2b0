// A light stream of requests for the demo, distributed like real ones: few stations get most requests, and some requests
// have invalid parameters.
import { setTimeout as wait } from 'node:timers/promises'

const STATIONS = 50
/** Requests a second, on average. */
const PER_SECOND = 4

/** Weight, format and filter of the requests. */
const KINDS = [
  [50, 'json', ''],
  [12, 'xml', ''],
  [12, 'json', '&connectorSet=IEC62196Type2CableAttached,IEC62196Type2CCS'],
  [10, 'json', '&minPowerKW=50'],
  [8, 'json', '&connectorSet=Chademo&connectorSet=Tesla&minPowerKW=22&maxPowerKW=150'],
  [4, 'xml', '&maxPowerKW=22.2'],
  [1, 'json', '&minPowerKW=fast'],
  [1, 'json', '&minPowerKW=150&maxPowerKW=50'],
]

/** The id of a station of the demo, numbered from 0. */
export const stationId = (number) => `00112233-4455-6677-8899-${String(number).padStart(12, '0')}`

/** Sends requests until the signal aborts. Responses are ignored: the status page shows them. */
export async function traffic(proxy, signal) {
  while (!signal.aborted) {
    void sendRequest(proxy, signal)
    // Independent clients: the gaps between their requests are exponential.
    await wait((-Math.log(1 - Math.random()) * 1000) / PER_SECOND, null, { signal }).catch(() => {})
  }
}

async function sendRequest(proxy, signal) {
  const [, ext, filter] = chosen(KINDS, ([weight]) => weight)
  const id = Math.random() < 0.01 ? 'unknown-station' : chosen(IDS, (_, rank) => 1 / (rank + 1))
  try {
    const url = `${proxy}/search/2/chargingAvailability.${ext}?chargingAvailability=${id}${filter}`
    const response = await fetch(url, { signal })
    await response.body?.cancel()
  } catch {
    // The demo ends, or the proxy restarts.
  }
}

const IDS = Array.from({ length: STATIONS }, (_, number) => stationId(number))

/** A random item by weight; the weights 1, 1/2, 1/3 … give Zipf's law. */
function chosen(items, weightOf) {
  const weights = items.map(weightOf)
  let left = Math.random() * weights.reduce((sum, weight) => sum + weight, 0)
  return items[weights.findIndex((weight) => (left -= weight) < 0)] ?? items[0]
}
