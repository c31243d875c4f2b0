/**
 * What a list costs in one request: server CPU of a batch of 100 cached stations against 100 single hits, both without
 * compression, in interleaved rounds. Fails if a batch costs as much as MAX_HITS single hits.
 * Usage: npm run bench:lists [-- rounds]
 */
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { startService } from './lib/live-service.mjs'
import { cpuSeconds } from './lib/process.mjs'
import { PATH, stationId } from './lib/stations.mjs'
import { median, ratios, spread } from './lib/stats.mjs'

const STATIONS = 100
const BATCHES = 500
const HITS = 10_000
/** A batch must cost less than this number of single hits. */
const MAX_HITS = 25
const rounds = Number(process.argv[2] ?? 5)

const service = await startService({ CACHE_TTL: '1h' })
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
const targets = Array.from(
  { length: STATIONS },
  (_, i) => `${PATH}.json?chargingAvailability=${stationId(i)}`,
)
const body = JSON.stringify({ batchItems: targets.map((query) => ({ query })) })

const batch = () => send({ method: 'POST', path: '/search/2/batch/sync.json' }, body)
const single = (i) => send({ path: targets[i % STATIONS] })
await measure(batch, BATCHES) // loads the stations, and warms both paths
await measure(single, HITS)

const [batches, hits] = [[], []]
for (let round = 0; round < rounds; round++) {
  batches.push(await measure(batch, BATCHES))
  hits.push(await measure(single, HITS))
}
const costs = ratios(batches, hits)
console.log(
  `a batch of ${STATIONS} cached stations: ${spread(batches, 0)} µs of CPU; a hit: ${spread(hits, 1)} µs; ` +
    `a batch costs ${spread(costs, 1)} hits`,
)
await service.stop()
agent.destroy()
process.exitCode = median(costs) < MAX_HITS ? 0 : 1

/** CPU of the service in µs for one request. */
async function measure(action, times) {
  const before = cpuSeconds(service.pid)
  for (let i = 0; i < times; i++) await action(i)
  return ((cpuSeconds(service.pid) - before) / times) * 1e6
}

/** The response is read to its end. */
async function send(options, text) {
  const headers = text === undefined ? {} : { 'content-type': 'application/json' }
  const outgoing = request({ host: '127.0.0.1', port: service.port, agent, headers, ...options })
  outgoing.end(text)
  const [response] = await once(outgoing, 'response')
  response.resume()
  await once(response, 'end')
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
}
