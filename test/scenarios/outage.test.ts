import type { Test } from 'tap'
import t from 'tap'
import { request, pathFor } from '../support/request.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStatus } from '../support/scripted-upstream.ts'
import { hang } from '../support/scripts.ts'
import { startService } from '../support/service.ts'

/** An upstream that is ill for a minute, under load: what is known goes on being answered, and nobody hammers it. */
const OUTAGE_MS = 60_000
const STATIONS = 20
const TICK_MS = 25
/** Requests for known stations at every tick, and one for a station that nobody has heard of at each fortieth. */
const REQUESTS_A_TICK = 2
const STRANGER_EVERY = 40

interface Outage {
  readonly requests: number
  readonly calls: number
  /** Milliseconds that known stations took, in ascending order. */
  readonly known: readonly number[]
  readonly wrong: readonly string[]
}

async function outage(t: Test, illness: Script): Promise<Outage> {
  const { proxy, upstream, get } = await startService(t, {
    env: {
      UPSTREAM_MAX_QPS: '50',
      UPSTREAM_TIMEOUT: '1s',
      UPSTREAM_SOFT_TIMEOUT: '200ms',
      CACHE_TTL: '1s',
      CACHE_STALE_WHILE_REVALIDATE: '1s',
      CACHE_STALE_IF_ERROR: '5m',
    },
  })
  for (let i = 0; i < STATIONS; i++) await get(`chargingAvailability=known-${i}`)
  const healthy = upstream.calls.length
  t.equal(healthy, STATIONS)
  upstream.script = illness

  const known: number[] = []
  const wrong: string[] = []
  const inFlight: Promise<void>[] = []
  const send = async (id: string, statuses: readonly number[], times?: number[]) => {
    const startedAt = performance.now()
    const { status } = await request(proxy.url, pathFor(`chargingAvailability=${id}`))
    times?.push(performance.now() - startedAt)
    if (!statuses.includes(status)) wrong.push(`${id}: ${status}`)
  }
  const startedAt = performance.now()
  for (let tick = 0; performance.now() - startedAt < OUTAGE_MS; tick++) {
    for (let i = 0; i < REQUESTS_A_TICK; i++) {
      const station = (tick * 7 + i * 3) % STATIONS
      inFlight.push(send(`known-${station}`, [200], known))
    }
    if (tick % STRANGER_EVERY === 0) inFlight.push(send(`stranger-${tick}`, [502, 503, 504]))
    await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }
  await Promise.all(inFlight)
  return {
    requests: inFlight.length,
    calls: upstream.calls.length - healthy,
    known: known.toSorted((a, b) => a - b),
    wrong,
  }
}

t.jobs = 2
const ILLNESSES = { 'answers 500': answerStatus(500), hangs: hang }
for (const [name, illness] of Object.entries(ILLNESSES)) {
  void t.test(`upstream ${name} for a minute`, async (t) => {
    const { requests, calls, known, wrong } = await outage(t, illness)
    const median = known[known.length >> 1] ?? Infinity
    t.comment(`${requests} requests, ${calls} calls, ${median.toFixed(1)} ms at the median`)
    t.ok(calls > 0, 'it was tried')
    t.ok(calls < requests / 100, `${calls} calls for ${requests} requests`)
    t.ok(median < 5, `known stations are answered in ${median} ms at the median`)
    t.strictSame(wrong, [], 'known stations are always answered, strangers told that it is upstream')
  })
}
