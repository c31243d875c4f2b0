/**
 * Answers that are held already, against Node's own server: requests per server CPU second, as ratios. Rounds are
 * interleaved, every round starts new processes, and raw-again is the A/A pair: a difference smaller than its own is
 * noise.
 */
import { HOT_LOADS, requestsFor } from '../lib/hot-loads.mjs'
import { measure, warm, wrkScript } from '../lib/load.mjs'
import { ratios, spread, table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { peers } from '../peers/index.mjs'

const WARM_SECONDS = 2
/** Longer than any run: a hit stays a hit. */
const TTL_SECONDS = 7_200

/** Requests per CPU second, `{ [load]: { [name]: [a number a round] } }`; none where a server has no such answer, or failed. */
export async function measureHotPath({ names, loads, rounds, seconds, warmSeconds = WARM_SECONDS, say }) {
  const upstream = await startUpstream()
  const about = { upstreamPort: upstream.port, ttlSeconds: TTL_SECONDS, staleSeconds: TTL_SECONDS }
  const results = Object.fromEntries(
    loads.map((load) => [load, Object.fromEntries(names.map((name) => [name, []]))]),
  )
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      say(`hot path: round ${round + 1} of ${rounds}, ${name}`)
      const server = await peers[name].start(about)
      for (const load of loads) {
        const requests = await requestsFor(load, server.port)
        if (requests === null) continue
        try {
          results[load][name].push(await perCpuSecond(server, requests, { seconds, warmSeconds }))
        } catch (error) {
          if (name === 'raw' || name === 'proxy') throw error
          say(`${name} failed on ${load}: ${error.message}`)
          break
        }
      }
      await server.stop()
    }
  }
  await upstream.stop()
  return results
}

async function perCpuSecond({ pid, port }, requests, { seconds, warmSeconds }) {
  const load = { pid, port, script: wrkScript(requests) }
  await warm({ ...load, requestCount: requests.length, leastSeconds: warmSeconds })
  const { perCpuSecond } = await measure({ ...load, seconds })
  return perCpuSecond
}

/** Ratios to the raw server, and of the proxy to each. */
export async function hotPath({ names, loads = HOT_LOADS, quick, rounds, seconds, say }) {
  const [times, length] = [rounds ?? (quick ? 1 : 3), seconds ?? (quick ? 1 : 3)]
  const results = await measureHotPath({ names, loads, rounds: times, seconds: length, say })
  const head = ['requests per server CPU second', ...loads]
  const against = (base, name) => loads.map((load) => ratioCell(results[load], name, base))
  const absolute = loads.map((load) => spread(results[load].raw, 0))
  const others = names.filter((name) => name !== 'raw')
  const rivals = others.filter((name) => name !== 'proxy' && name !== 'raw-again')
  return [
    `${times} rounds of ${length} s, new processes in each; median (lowest–highest).`,
    table(head, [
      ['raw `node:http`', ...absolute],
      ...others.map((name) => [`${peers[name].title} / raw`, ...against('raw', name)]),
    ]),
    table(
      ['the proxy against', ...loads],
      rivals.map((name) => [peers[name].title, ...against(name, 'proxy')]),
    ),
  ].join('\n\n')
}

function ratioCell(byName, name, base) {
  if (byName[name].length === 0 || byName[base].length === 0) return 'not offered'
  return spread(ratios(byName[name], byName[base]))
}
