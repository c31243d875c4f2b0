/**
 * What upstream is asked for the same traffic: each cache has an upstream of its own, all get the same requests at the
 * same moments. Before the 30 seconds that count, every station is asked for once without a filter, slowly.
 *
 * The least calls are those of the cache without faults (lib/least-calls.mjs): it knows the stations of the warm-up,
 * shares every call, and an answer serves for the whole TTL after it came. The proxy takes up to a tenth of the TTL off
 * each answer so that not all expire together; what that costs is told as a least of its own.
 */
import { PATH, fixedTarget, filteredTarget, randomNumbers, stationId, zipf } from '../lib/stations.mjs'
import { leastCalls } from '../lib/least-calls.mjs'
import { sendTo } from '../lib/open-loop.mjs'
import { quantile, table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { peers } from '../peers/index.mjs'
import { ttlFactor } from '../../dist/cache/freshness.js'

const STATIONS = 400
const TTL_SECONDS = 10
const STALE_SECONDS = 30
const LATENCY_MS = 80
const LIMIT = 50
const WARM_MS = TTL_SECONDS * 1_000
const RATES = [120, 300]
const LIMITS = [0, LIMIT]
const FILTERS = { 'random filters': filteredTarget, '6 fixed filters': fixedTarget }

/** The proxy as its defaults have it, and one that never hands out what is past its time. */
const PROXIES = [
  { name: 'proxy', title: '**the proxy**', staleSeconds: STALE_SECONDS },
  { name: 'proxy', title: '**the proxy**, nothing past its time', staleSeconds: 0 },
]

export async function economy({ names, quick, say }) {
  const seconds = quick ? 10 : 30
  const others = names.filter((name) => peers[name].caches && name !== 'proxy' && name !== 'nginx-stored')
  const rivals = others.map((name) => ({ name, title: peers[name].title, staleSeconds: STALE_SECONDS }))
  const tables = []
  for (const [label, target] of Object.entries(FILTERS)) {
    for (const perSecond of RATES) {
      const requests = traffic(perSecond, seconds, target)
      const rows = []
      for (const limit of LIMITS) {
        say(`economy: ${label}, ${perSecond} requests a second, ${limit || 'no'} limit, ${seconds} s`)
        rows.push(...(await compare([...PROXIES, ...rivals], requests, limit)))
      }
      tables.push(`**${perSecond} requests a second, ${label}.** ${leastOf(requests)}`, tableOf(rows))
    }
  }
  const setting = `${seconds} s, ${STATIONS} stations by Zipf's law, TTL ${TTL_SECONDS} s, upstream takes ${LATENCY_MS} ms.`
  return [setting, ...tables].join('\n\n')
}

/** The warm-up, then a Poisson process. */
function traffic(perSecond, seconds, target) {
  const random = randomNumbers(7)
  const draw = zipf(random, STATIONS)
  const requests = Array.from({ length: STATIONS }, (_, station) => ({
    at: (station / STATIONS) * WARM_MS,
    id: station,
    target: `${PATH}.json?key=client&chargingAvailability=${stationId(station)}`,
  }))
  for (let at = WARM_MS; ;) {
    at += (-Math.log(1 - random()) / perSecond) * 1_000
    if (at >= WARM_MS + seconds * 1_000) return requests
    const station = draw()
    requests.push({ at, id: station, target: target(random, station) })
  }
}

async function compare(variants, requests, limit) {
  const started = []
  for (const { name, staleSeconds } of variants) {
    const upstream = await startUpstream({ latencyMs: LATENCY_MS, perSecond: limit })
    const settings = { UPSTREAM_MAX_QPS: String(limit) }
    const about = { upstreamPort: upstream.port, ttlSeconds: TTL_SECONDS, staleSeconds, settings }
    started.push({ upstream, server: await peers[name].start(about) })
  }
  const counts = () => Promise.all(started.map(({ upstream }) => upstream.counts()))
  const ports = started.map(({ server }) => server.port)
  await sendTo(
    ports,
    requests.filter(({ at }) => at < WARM_MS),
  )
  const before = await counts()
  const counted = requests
    .filter(({ at }) => at >= WARM_MS)
    .map((request) => ({ ...request, at: request.at - WARM_MS }))
  const answers = await sendTo(ports, counted)
  const after = await counts()
  for (const { upstream, server } of started) await Promise.all([server.stop(), upstream.stop()])
  return variants.map(({ title }, i) => ({
    title: limit === 0 ? title : `${title}, upstream allows ${limit}/s`,
    calls: after[i].calls - before[i].calls,
    refused: after[i].refused - before[i].refused,
    answers: answers[i],
    least: leastCalls(requests, { freshMs: TTL_SECONDS * 1_000, latencyMs: LATENCY_MS, from: WARM_MS }),
    leastJittered: jitteredLeast(requests),
  }))
}

function jitteredLeast(requests) {
  const random = randomNumbers(9)
  const freshMs = () => TTL_SECONDS * 1_000 * ttlFactor(random())
  return leastCalls(requests, { freshMs, latencyMs: LATENCY_MS, from: WARM_MS })
}

function leastOf(requests) {
  const least = leastCalls(requests, { freshMs: TTL_SECONDS * 1_000, latencyMs: LATENCY_MS, from: WARM_MS })
  const counted = requests.filter(({ at }) => at >= WARM_MS).length
  return `${counted} requests need at least ${least} calls, ${jitteredLeast(requests)} with the jitter.`
}

function tableOf(rows) {
  return table(
    [
      '',
      'calls per 1,000 requests',
      'calls / least',
      'refused by upstream',
      'client errors',
      'p50 ms',
      'p90',
      'p99',
    ],
    rows.map(({ title, calls, refused, answers, least }) => {
      const times = answers.map(({ ms }) => ms)
      const errors = answers.filter(({ status }) => status !== 200).length
      const latencies = [0.5, 0.9, 0.99].map((part) => quantile(times, part).toFixed(1))
      const perThousand = ((1_000 * calls) / answers.length).toFixed(0)
      return [title, perThousand, (calls / least).toFixed(3), refused, errors, ...latencies].map(String)
    }),
  )
}
