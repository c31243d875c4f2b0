import type { Test } from 'tap'
import t from 'tap'
import { request, pathFor } from '../support/request.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStatus } from '../support/scripted-upstream.ts'
import { hang } from '../support/scripts.ts'
import { startService } from '../support/service.ts'

/** An upstream that fails for a minute under load: cached stations are still answered, with few calls. */
const OUTAGE_MS = 60_000
const STATIONS = 20
const TICK_MS = 25
/** Requests for cached stations per tick, and one for an uncached station every fortieth tick. */
const REQUESTS_PER_TICK = 2
const UNCACHED_EVERY = 40

interface Outage {
  readonly requests: number
  readonly calls: number
  /** Median of the response times of cached stations. */
  readonly cachedMs: number
  /** The same of requests that need no station: how busy the machine is. */
  readonly healthMs: number
  readonly unexpected: readonly string[]
}

async function outage(t: Test, failure: Script): Promise<Outage> {
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
  for (let i = 0; i < STATIONS; i++) await get(`chargingAvailability=cached-${i}`)
  const healthy = upstream.calls.length
  t.equal(healthy, STATIONS)
  upstream.script = failure

  const cachedMs: number[] = []
  const healthMs: number[] = []
  const unexpected: string[] = []
  const inFlight: Promise<void>[] = []
  const ask = async (path: string, statuses: readonly number[], times?: number[]) => {
    const startedAt = performance.now()
    const { status } = await request(proxy.url, path)
    times?.push(performance.now() - startedAt)
    if (!statuses.includes(status)) unexpected.push(`${path}: ${status}`)
  }
  const send = (id: string, statuses: readonly number[], times?: number[]) =>
    ask(pathFor(`chargingAvailability=${id}`), statuses, times)
  const startedAt = performance.now()
  for (let tick = 0; performance.now() - startedAt < OUTAGE_MS; tick++) {
    for (let i = 0; i < REQUESTS_PER_TICK; i++) {
      const station = (tick * 7 + i * 3) % STATIONS
      inFlight.push(send(`cached-${station}`, [200], cachedMs))
    }
    inFlight.push(ask('/healthz', [200], healthMs))
    if (tick % UNCACHED_EVERY === 0) inFlight.push(send(`uncached-${tick}`, [502, 503, 504]))
    await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }
  await Promise.all(inFlight)
  return {
    requests: inFlight.length - healthMs.length,
    calls: upstream.calls.length - healthy,
    cachedMs: median(cachedMs),
    healthMs: median(healthMs),
    unexpected,
  }
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? Infinity
}

t.jobs = 2
const FAILURES = { 'answers 500': answerStatus(500), hangs: hang }
for (const [name, failure] of Object.entries(FAILURES)) {
  void t.test(
    `an upstream that ${name} for a minute gets few calls, and cached stations are answered`,
    async (t) => {
      const { requests, calls, cachedMs, healthMs, unexpected } = await outage(t, failure)
      const times = `${cachedMs.toFixed(1)} ms at the median, /healthz in ${healthMs.toFixed(1)} ms`
      t.comment(`${requests} requests, ${calls} calls, ${times}`)
      t.ok(calls > 0, 'upstream is still probed')
      t.ok(calls < requests / 100, `${calls} calls for ${requests} requests`)
      t.ok(cachedMs < Math.max(5, 2 * healthMs), `cached stations are answered in ${times}`)
      t.strictSame(unexpected, [], 'cached stations are always answered, others get an upstream error')
    },
  )
}
