import { rmSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { LEASE_MS } from '../../src/cache/shared-loader.ts'
import type { WireResponse } from '../support/request.ts'
import { request, pathFor } from '../support/request.ts'
import { readExposition } from '../support/exposition.ts'
import { build, Process } from '../support/process.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStation, Barrier, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { waitFor } from '../support/scripts.ts'
import { until } from '../support/until.ts'

/** Replicas as processes of their own, one upstream, one Redis. */
interface Fleet {
  readonly upstream: ScriptedUpstream
  readonly redis: RedisServer
  readonly replicas: readonly Replica[]
  /** Starts another replica. */
  readonly add: () => Promise<Replica>
}

interface Replica {
  readonly process: Process
  readonly get: (id: string) => Promise<WireResponse>
  readonly metric: (name: string, labels?: Record<string, string>) => Promise<number | undefined>
}

/** Delay of upstream, so that requests overlap. */
const UPSTREAM_MS = 100

const dir = await build()
t.teardown(() => {
  rmSync(dir, { recursive: true, force: true })
})

const slowly: Script = async (call, response) => {
  await new Promise((resolve) => setTimeout(resolve, UPSTREAM_MS))
  answerStation(call, response)
}

async function fleet(t: Test, environment: Record<string, string> = {}, script = slowly): Promise<Fleet> {
  const redis = await RedisServer.start(t)
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  const settings = {
    TOMTOM_API_KEY: TEST_KEY,
    TOMTOM_BASE_URL: upstream.origin,
    REDIS_URL: redis.url,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    UPSTREAM_MAX_QPS: '0',
    ...environment,
  }
  const add = async () => {
    const one = await replica(t, settings)
    await sharing(one)
    return one
  }
  return { redis, upstream, add, replicas: await Promise.all([add(), add(), add()]) }
}

async function replica(t: Test, settings: Record<string, string>): Promise<Replica> {
  const process = new Process(dir, settings)
  t.teardown(async () => {
    process.child.kill('SIGKILL')
    await process.exited
  })
  const { url, adminUrl } = await process.urls()
  return {
    process,
    get: (id) => request(url, pathFor(`chargingAvailability=${encodeURIComponent(id)}`)),
    metric: async (name, labels) =>
      readExposition((await request(adminUrl, '/metrics')).text).value(name, labels),
  }
}

/** The distinct statuses, ascending. */
const statuses = (answers: readonly WireResponse[]) =>
  [...new Set(answers.map(({ status }) => status))].toSorted((a, b) => a - b)

const sharing = (one: Replica) =>
  until('the replica is connected to Redis', async () => (await one.metric('evproxy_shared_cache_up')) === 1)

await t.test('three replicas on one Redis', { skip: NO_REDIS }, async (t) => {
  const { upstream, redis, replicas, add } = await fleet(t, { CACHE_TTL: '1h' })

  await t.test('300 concurrent requests for an uncached station cause one call', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => (replicas[i % 3] as Replica).get('one')),
    )
    t.strictSame(statuses(answers), [200])
    t.equal(upstream.callsFor('one'), 1)
  })

  await t.test('30 stations, each requested from all replicas, cause at most 32 calls', async (t) => {
    const ids = Array.from({ length: 30 }, (_, i) => `of-thirty-${i}`)
    const before = upstream.calls.length
    const answers = await Promise.all(
      ids.flatMap((id) => replicas.flatMap(({ get }) => [get(id), get(id), get(id)])),
    )
    t.strictSame(statuses(answers), [200])
    const calls = upstream.calls.length - before
    t.ok(calls >= 30 && calls <= 32, `${calls} calls`)
  })

  await t.test('a new replica serves answers of the others', async (t) => {
    const before = upstream.calls.length
    const fresh = await add()
    const { status, headers } = await fresh.get('one')
    t.equal(status, 200)
    t.match(headers['cache-status'], 'hit')
    t.equal(upstream.calls.length, before)
  })

  await t.test('another replica calls upstream when the lease of a killed replica ends', async (t) => {
    const victim = await add()
    const barrier = new Barrier()
    upstream.script = waitFor(barrier)
    const lost = victim.get('orphan').catch(() => null)
    await until('the replica has called', () => upstream.callsFor('orphan') === 1)
    const waiting = Promise.all(replicas.map(({ get }) => get('orphan')))
    victim.process.child.kill('SIGKILL')
    await lost
    const startedAt = performance.now()
    await until('another replica has called', () => upstream.callsFor('orphan') === 2)
    const ms = performance.now() - startedAt
    t.ok(ms < LEASE_MS + 1_500, `after ${ms} ms`)
    upstream.script = slowly
    barrier.open()
    t.strictSame(statuses(await waiting), [200])
    t.equal(upstream.callsFor('orphan'), 2)
  })

  await t.test('the replicas continue without Redis, and share again after its restart', async (t) => {
    await redis.kill()
    const alone = await Promise.all(replicas.map(({ get }) => get('alone')))
    t.strictSame(statuses(alone), [200])
    t.equal(upstream.callsFor('alone'), 3)
    await redis.restart()
    await Promise.all(replicas.map(sharing))
    const together = await Promise.all(replicas.map(({ get }) => get('together')))
    t.strictSame(statuses(together), [200])
    t.equal(upstream.callsFor('together'), 1)
  })
})

await t.test(
  'a stopped Redis causes no errors, and latency is back within a second',
  { skip: NO_REDIS },
  async (t) => {
    const { redis, replicas } = await fleet(t, { CACHE_TTL: '200ms', CACHE_STALE_WHILE_REVALIDATE: '0' })
    const samples: { readonly at: number; readonly ms: number; readonly status: number }[] = []
    const startedAt = performance.now()
    const runFor = 5_000
    const client = async (one: Replica, number: number) => {
      for (let i = 0; performance.now() - startedAt < runFor; i++) {
        const at = performance.now() - startedAt
        const { status } = await one.get(`station-${(i * 7 + number) % 20}`)
        samples.push({ at, ms: performance.now() - startedAt - at, status })
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    const traffic = Promise.all(replicas.flatMap((one) => [1, 2, 3, 4].map((number) => client(one, number))))
    const stopAt = 2_000
    await until('there has been traffic', () => performance.now() - startedAt > stopAt)
    redis.pause()
    await traffic
    redis.resume()

    const p99 = (from: number, to: number) => {
      const times = samples.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms)
      return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN
    }
    t.strictSame([...new Set(samples.map(({ status }) => status))], [200])
    const [before, after] = [p99(500, stopAt), p99(stopAt + 1_000, runFor)]
    t.comment(`p99 ${Math.round(before)} ms before, ${Math.round(after)} ms from one second on`)
    t.ok(after <= 1.5 * before + 50, `${after} ms, ${before} ms before`)
  },
)

await t.test('three replicas share one quota', { skip: NO_REDIS }, async (t) => {
  const QUOTA = 100
  /** A quarter is released at once. */
  const RELEASED = 25
  const { upstream, replicas, add } = await fleet(t, {
    UPSTREAM_QUOTA: `${QUOTA}/month`,
    CACHE_MAX_TTL: '30s', // as CACHE_TTL: no longer TTL saves calls, so they are rationed
  })
  const answers = await Promise.all(
    Array.from({ length: 90 }, (_, i) => (replicas[i % 3] as Replica).get(`station-${i}`)),
  )
  t.equal(upstream.calls.length, RELEASED)
  t.equal(answers.filter(({ status }) => status === 200).length, RELEASED)
  t.strictSame(statuses(answers), [200, 503])

  await t.test('the calls of killed replicas stay charged to the quota', async (t) => {
    for (const { process } of replicas) process.child.kill('SIGKILL')
    await Promise.all(replicas.map(({ process }) => process.exited))
    const fresh = await add()
    t.equal((await fresh.get('one-more')).status, 503)
    await until(
      'the new replica has read the quota',
      async () => (await fresh.metric('evproxy_quota_remaining')) === QUOTA - RELEASED,
    )
    t.equal(upstream.calls.length, RELEASED)
  })
})

await t.test('three replicas share one rate limit', { skip: NO_REDIS }, async (t) => {
  const PER_SECOND = 6
  const { upstream, replicas } = await fleet(t, {
    UPSTREAM_MAX_QPS: `${PER_SECOND}`,
    UPSTREAM_QUEUE_TIMEOUT: '1s',
  })
  const times: number[] = []
  upstream.script = (call, response) => {
    times.push(performance.now())
    answerStation(call, response)
  }
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, i) => (replicas[i % 3] as Replica).get(`station-${i}`)),
  )
  t.strictSame(statuses(answers), [200, 429])
  t.equal(times.length, 2 * PER_SECOND, 'the calls sent at once and those with a slot in the queue')
  const second = (times[PER_SECOND] ?? 0) - (times[0] ?? 0)
  t.ok(second > 700, `the queued calls are sent ${second} ms after the first`)
})
