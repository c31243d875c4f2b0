import type { Test } from 'tap'
import t from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import type { CacheOptions, LookupResult } from '../../src/cache/cache.ts'
import { Cache } from '../../src/cache/cache.ts'
import { UNPACED } from '../../src/cache/entry-store.ts'
import type { SharedAnswerStore } from '../../src/cache/shared-store.ts'
import { LEASE_MS } from '../../src/cache/shared-loader.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { ServiceError } from '../../src/errors.ts'
import type { CacheResult, SharedResult } from '../../src/events.ts'
import { decodeRecord, encodeRecord } from '../../src/state-dir/answer-record.ts'
import { localStores } from '../state-dir/local-stores.ts'
import { settled, TestClock } from '../support/clock.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { ScriptedSource } from '../support/scripted-source.ts'
import { SharedDouble } from '../support/shared-double.ts'
import { connector, level, station } from '../support/stations.ts'
import { until } from '../support/until.ts'
import { TIMES } from '../cache/setup.ts'
import { openStores } from './replicas.ts'

// What waits here waits on timers that hold no process open: in the service its listeners do.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

/** One place that replicas share, or none, and what a test does to it behind their backs. */
interface Place {
  /** A replica's own access; null where nothing is shared. */
  readonly open: () => Promise<SharedAnswerStore | null>
  /** Stations of which an answer is kept in it. */
  readonly stations: () => Promise<readonly string[]>
}

interface SharedPlace extends Place {
  readonly open: () => Promise<SharedAnswerStore>
  /** An answer of call 0, received so long ago; negative lies in the future. */
  readonly plant: (id: string, ageMs: number, jitter?: number) => Promise<void>
  /** What is no answer for this station: no such text, or the answer of another. */
  readonly plantNonsense: (id: string, kind: 'text' | 'of another') => Promise<void>
  /** How long what is kept of a station will still be there. */
  readonly lifeMs: (id: string) => Promise<number>
  /** What is done with an answer that is younger than nothing, as a clock that was set back makes them. */
  readonly fromFuture: 'age 0' | 'dropped'
  /** The lease is held by a replica that is gone. */
  readonly takeLease: (id: string, ms: number) => Promise<void>
}

/** A replica: its own memory, its own calls. */
interface Replica {
  readonly cache: Cache
  readonly source: ScriptedSource
  readonly events: CacheResult[]
  readonly sharedEvents: SharedResult[]
  readonly get: (id?: string) => Promise<Pick<LookupResult, 'result' | 'ageMs'> & { readonly call: unknown }>
}

interface ReplicaOptions extends Partial<CacheOptions> {
  readonly clock?: Clock
  /** Replicas that call the same upstream. */
  readonly source?: ScriptedSource
}

async function replica(place: Pick<Place, 'open'>, options: ReplicaOptions = {}): Promise<Replica> {
  const { clock = systemClock, source = new ScriptedSource(), ...changed } = options
  const events: CacheResult[] = []
  const sharedEvents: SharedResult[] = []
  const tier = await place.open()
  const settings = { ...TIMES, maxEntries: 1_000, maxBytes: 10_000_000, ...changed }
  const cache = new Cache(settings, {
    load: source.load,
    clock,
    random: () => 0,
    pacing: null,
    observer: {
      lookedUp: (result) => void events.push(result),
      evicted: () => {},
      emptyDoubted: () => {},
      answerStored: () => {},
    },
    shared: tier && {
      store: tier,
      observer: { sharedCacheLookedUp: (result) => void sharedEvents.push(result) },
    },
  })
  const get = async (id = 'a') => {
    const { answer, result, ageMs } = await cache.get(id)
    return { result, ageMs, call: (JSON.parse(answer.json) as { call: unknown }).call }
  }
  return { cache, source, events, sharedEvents, get }
}

const rejected = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof ServiceError ? error.code : error),
  )

const planted = (id: string) => new Answer({ ...station(id, connector('Type2', level(22))), call: 0 }).json

const memoryAlone = async (): Promise<Place> => ({ open: async () => null, stations: async () => [] })

const answerFor = (id: string, ageMs: number, jitter: number) => ({
  version: 'planted',
  json: planted(id),
  ageMs,
  startedAgoMs: ageMs + 100,
  jitter,
  changedAt: 0,
})

/** The name of a key in Redis. */
const keyOf = (id: string, kind = 'answer') => `evproxy:1:${kind}:{${encodeURIComponent(id)}}`

const double = async (): Promise<SharedPlace> => {
  const tier = new SharedDouble(systemClock)
  return {
    open: async () => tier,
    fromFuture: 'age 0',
    plant: async (id, ageMs, jitter = 1) => tier.plant(id, answerFor(id, ageMs, jitter)),
    plantNonsense: async (id, kind) =>
      tier.plant(id, kind === 'text' ? 'corrupt' : answerFor('another', 0, 1)),
    takeLease: async (id, ms) => tier.takeLease(id, ms),
    stations: async () => tier.stations,
    lifeMs: async (id) => tier.lifeMs(id),
  }
}

const redis = async (t: Test): Promise<SharedPlace> => {
  const server = await RedisServer.start(t)
  const plant = async (id: string, ageMs: number, jitter: number, json: string) => {
    const [seconds = '', micros = ''] = (await server.cli('TIME')).split('\n')
    const received = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000) - ageMs
    await server.cli('SET', keyOf(id), `${received} ${received - 100} ${jitter * 1_000} planted ${json}`)
  }
  return {
    open: async () => (await openStores(t, server)).answers,
    fromFuture: 'age 0',
    plant: (id, ageMs, jitter = 1) => plant(id, ageMs, jitter, planted(id)),
    plantNonsense: async (id, kind) => {
      if (kind === 'text') await server.cli('SET', keyOf(id), 'what is that')
      else await plant(id, 0, 1, planted('another'))
    },
    lifeMs: async (id) => Number(await server.cli('PTTL', keyOf(id))),
    takeLease: async (id, ms) => void (await server.cli('SET', keyOf(id, 'lease'), 'gone', 'PX', `${ms}`)),
    stations: async () => {
      const keys = (await server.cli('KEYS', 'evproxy:1:answer:*')).split('\n')
      return keys
        .filter((name) => name !== '')
        .map((name) => decodeURIComponent(name.slice(keyOf('').length - 1, -1)))
    },
  }
}

const stateDir = async (t: Test): Promise<SharedPlace> => {
  const { db, open } = localStores(t)
  const plant = (id: string, ageMs: number, jitter: number, json: string) => {
    const receivedAt = Date.now() - ageMs
    const times = { receivedAt, startedAt: receivedAt - 100, until: receivedAt + 86_400_000 }
    db.answers.putSync(
      id,
      encodeRecord({ answer: { version: 'planted', json, jitter, changedAt: 0 }, ...times }),
    )
  }
  return {
    open: async () => open().answers,
    fromFuture: 'dropped',
    plant: async (id, ageMs, jitter = 1) => plant(id, ageMs, jitter, planted(id)),
    plantNonsense: async (id, kind) => {
      if (kind === 'text') db.answers.putSync(id, Buffer.from('what is that'))
      else plant(id, 0, 1, planted('another'))
    },
    lifeMs: async (id) => (decodeRecord(db.answers.get(id) as Buffer)?.until ?? 0) - Date.now(),
    takeLease: async (id, ms) => {
      db.leases.putSync(id, { holder: 'gone', at: Date.now(), until: Date.now() + ms })
    },
    stations: async () => [...db.answers.getKeys()],
  }
}

for (const [name, open] of [
  ['no shared store', memoryAlone],
  ['a double', double],
  ['a state directory', stateDir],
  ['a real Redis', redis],
] as const) {
  await t.test(`a cache with ${name} keeps its promises`, { skip: open === redis && NO_REDIS }, async (t) => {
    const place = await open(t)
    /** A replica whose time stands still. */
    const still = async (options: ReplicaOptions = {}) => {
      const clock = new TestClock()
      return { clock, ...(await replica(place, { ...options, clock })) }
    }

    await t.test('requests at the same time share one call', async (t) => {
      const { source, get, events } = await still()
      const all = Promise.all(Array.from({ length: 200 }, () => get('cold')))
      await until('the call is made', () => source.calls.length > 0)
      source.last.answer()
      t.same(new Set((await all).map(({ call }) => call)), new Set([1]))
      t.match(await get('cold'), { result: 'hit', call: 1 })
      t.equal(source.calls.length, 1)
      t.equal(events.length, 201)
    })

    await t.test('a stale answer is served at once and refreshed once', async (t) => {
      const { clock, source, get } = await still()
      source.answerAll()
      await get('old')
      await clock.advance(TIMES.ttlMs + 1)
      t.match(await get('old'), { result: 'stale', call: 1 })
      await until('the refresh is back', async () => (await get('old')).call === 2)
      t.equal(source.calls.length, 2)
    })

    await t.test('an error is thrown, cached for a while, and never cached as an answer', async (t) => {
      const { source, get, cache } = await still()
      source.failAll()
      t.equal(await rejected(get('ill')), 'UpstreamFailed')
      t.equal(await rejected(get('ill')), 'UpstreamFailed')
      t.equal(source.calls.length, 1)
      t.equal(cache.peek('ill'), null)
      t.notOk((await place.stations()).includes('ill'))
    })

    await t.test('a stale answer is served instead of an error', async (t) => {
      const { clock, source, get } = await still()
      source.answerAll()
      await get('failing')
      await clock.advance(TIMES.ttlMs + TIMES.staleWhileRevalidateMs + 1)
      source.failAll()
      t.match(await get('failing'), { result: 'stale_error', call: 1 })
    })

    await t.test('an answer without connectors is cached', async (t) => {
      const { source, get } = await still()
      source.always = (call) => call.answerEmpty()
      await get('unknown')
      t.match(await get('unknown'), { result: 'hit', call: 1 })
    })

    await t.test('with a TTL of 0 nothing is cached, and requests still share a call', async (t) => {
      const { source, get, cache } = await still({ ttlMs: 0 })
      const both = Promise.all([get('never'), get('never')])
      await until('the call is made', () => source.calls.length > 0)
      source.last.answer()
      t.match(await both, [{ call: 1 }, { call: 1 }])
      t.equal(cache.store.entries, 0)
      source.answerAll()
      t.match(await get('never'), { result: 'miss', call: 2 })
      t.notOk((await place.stations()).includes('never'))
    })
  })
}

for (const [name, open] of [
  ['a double', double],
  ['a state directory', stateDir],
  ['a real Redis', redis],
] as const) {
  await t.test(`replicas share answers through ${name}`, { skip: open === redis && NO_REDIS }, async (t) => {
    const place = await open(t)

    await t.test('a replica uses the answer of another, with its age and its jitter', async (t) => {
      const one = await replica(place)
      one.source.answerAll()
      await one.get('known')
      await until('it is shared', async () => (await place.stations()).includes('known'))
      const other = await replica(place)
      t.match(await other.get('known'), { result: 'hit', call: 1 })
      t.match(await other.get('known'), { result: 'hit', call: 1 })
      t.equal(other.source.calls.length, 0)
      t.strictSame(other.sharedEvents, ['hit'], 'the second was in memory')
      t.strictSame(one.sharedEvents, ['miss'])

      await place.plant('jittered', 0.95 * TIMES.ttlMs, 0.9)
      t.match(await other.get('jittered'), { result: 'stale', call: 0 })
      await place.plant('young', 0.95 * TIMES.ttlMs, 1)
      const found = await other.get('young')
      t.equal(found.result, 'hit')
      t.ok(found.ageMs >= 0.95 * TIMES.ttlMs && found.ageMs < TIMES.ttlMs, `age ${found.ageMs}`)
    })

    await t.test('an answer is stored only as long as it can be served', async (t) => {
      const { get, source } = await replica(place)
      source.always = (call) => (call.id === 'empty' ? call.answerEmpty() : call.answer())
      for (const [id, ttlMs] of [
        ['full', TIMES.ttlMs],
        ['empty', TIMES.emptyTtlMs],
      ] as const) {
        await get(id)
        await until('it is shared', async () => (await place.stations()).includes(id))
        const leftMs = ttlMs + TIMES.staleIfErrorMs - (await place.lifeMs(id))
        t.ok(leftMs >= 0 && leftMs < 5_000, `${id}: ${leftMs}`)
      }
    })

    await t.test('an empty answer after a full one is doubted by all replicas, with one call', async (t) => {
      await place.plant('doubted', TIMES.ttlMs + 1_000)
      const source = new ScriptedSource()
      source.answerAllEmpty()
      const options = { source, staleWhileRevalidateMs: 0 }
      const [a, b] = [await replica(place, options), await replica(place, options)]
      t.match(await a.get('doubted'), { result: 'stale', call: 0 })
      t.match(await b.get('doubted'), { result: 'stale', call: 0 })
      t.match(await (await replica(place, options)).get('doubted'), { result: 'stale', call: 0 })
      t.equal(source.calls.length, 1)
      const left = await place.lifeMs('doubted')
      t.ok(left > 0 && left <= TIMES.staleIfErrorMs - 1_000, `${left} ms`)
    })

    await t.test('a hit in memory does not use the shared store', async (t) => {
      const tier = await place.open()
      let uses = 0
      const counted: SharedAnswerStore = {
        get isUp() {
          uses++
          return tier.isUp
        },
        leaseGet: (...args) => (uses++, tier.leaseGet(...args)),
        renew: (...args) => (uses++, tier.renew(...args)),
        publish: (...args) => (uses++, tier.publish(...args)),
        release: (...args) => (uses++, tier.release(...args)),
        purge: (...args) => (uses++, tier.purge(...args)),
        purgeAll: () => (uses++, tier.purgeAll()),
      }
      const { source, get, cache } = await replica({ open: async () => counted })
      source.answerAll()
      await get('hot')
      const before = uses
      for (let i = 0; i < 100; i++) t.notOk(cache.get('hot') instanceof Promise)
      await settled()
      t.equal(uses, before)
    })

    await t.test('a stale answer of another replica is stale here too', async (t) => {
      const revalidating = await replica(place)
      await place.plant('old', TIMES.ttlMs + 1_000)
      t.match(await revalidating.get('old'), { result: 'stale', call: 0 })
      await until('it is refreshed', () => revalidating.source.calls.length === 1)
      revalidating.source.last.answer()
      await until('that is there', async () => (await revalidating.get('old')).call === 1)

      const failing = await replica(place)
      failing.source.failAll()
      await place.plant('older', TIMES.ttlMs + TIMES.staleWhileRevalidateMs + 1_000)
      t.match(await failing.get('older'), { result: 'stale_error', call: 0 })
      t.equal(failing.source.calls.length, 1)

      const slow = await replica(place, { softTimeoutMs: 50 })
      await place.plant('slow', TIMES.ttlMs + TIMES.staleWhileRevalidateMs + 1_000)
      t.match(await slow.get('slow'), { result: 'stale', call: 0 })
      await until('its call is made', () => slow.source.calls.length === 1)
      slow.source.last.answer()

      const tooOld = await replica(place)
      tooOld.source.failAll()
      await place.plant('too old', TIMES.ttlMs + TIMES.staleIfErrorMs + 1_000)
      t.equal(await rejected(tooOld.get('too old')), 'UpstreamFailed')
    })

    await t.test('one replica calls and the others wait for its answer', async (t) => {
      const source = new ScriptedSource()
      const replicas = await Promise.all([1, 2, 3].map(() => replica(place, { source })))
      const all = Promise.all(replicas.flatMap(({ get }) => [get('cold'), get('cold')]))
      await until('the call is made', () => source.calls.length > 0)
      await until('all have asked', () => replicas.every(({ cache }) => cache.inFlightCalls === 1))
      source.last.answer()
      t.same(new Set((await all).map(({ call }) => call)), new Set([1]))
      t.equal(source.calls.length, 1)
    })

    await t.test('a failed call of one replica backs off the others', async (t) => {
      for (const code of ['UpstreamFailed', 'NotFound']) {
        const source = new ScriptedSource()
        const [one, other] = [await replica(place, { source }), await replica(place, { source })]
        const both = Promise.all([rejected(one.get(code)), rejected(other.get(code))])
        await until('the call is made', () => source.calls.length > 0)
        source.last.fail(code)
        t.strictSame(await both, [code, code])
        t.equal(await rejected(other.get(code)), code)
        t.equal(source.calls.length, 1)
      }
    })

    await t.test('a call that was not sent does not back off the other replicas', async (t) => {
      const [one, other] = [await replica(place), await replica(place)]
      one.source.failAll('QuotaExhausted')
      other.source.answerAll()
      t.equal(await rejected(one.get('held back')), 'QuotaExhausted')
      t.match(await other.get('held back'), { call: 1 })
    })

    await t.test('a lease whose holder is gone delays a call until it expires', async (t) => {
      const source = new ScriptedSource()
      source.answerAll()
      const replicas = await Promise.all([1, 2, 3].map(() => replica(place, { source })))
      const startedAt = performance.now()
      await place.takeLease('orphan', 300)
      const found = await Promise.all(replicas.map(({ get }) => get('orphan')))
      t.same(new Set(found.map(({ call }) => call)), new Set([1]))
      t.equal(source.calls.length, 1)
      t.ok(performance.now() - startedAt >= 290, 'they waited')
    })

    await t.test('a call that takes longer than a lease renews it', async (t) => {
      const source = new ScriptedSource()
      const [one, other] = [await replica(place, { source }), await replica(place, { source })]
      const first = one.get('slow call')
      await until('the call is made', () => source.calls.length > 0)
      const second = other.get('slow call')
      await new Promise((resolve) => setTimeout(resolve, LEASE_MS + 500))
      t.equal(source.calls.length, 1)
      source.last.answer()
      t.match(await Promise.all([first, second]), [{ call: 1 }, { call: 1 }])
      t.equal(source.calls.length, 1)
    })

    await t.test('a wait for another replica ends at the deadline of the call', async (t) => {
      await place.takeLease('endless', LEASE_MS)
      const { get, source } = await replica(place, { flightTimeoutMs: 200 })
      t.equal(await rejected(get('endless')), 'UpstreamTimeout')
      t.equal(source.calls.length, 0)
    })

    await t.test('a refresh is one call for all replicas', async (t) => {
      const source = new ScriptedSource()
      const replicas = await Promise.all([1, 2, 3].map(() => replica(place, { source })))
      await place.plant('refreshed', TIMES.ttlMs + 1)
      const found = await Promise.all(replicas.map(({ get }) => get('refreshed')))
      t.match(found, [{ result: 'stale' }, { result: 'stale' }, { result: 'stale' }])
      await until('the call is made', () => source.calls.length > 0)
      source.last.answer()
      for (const { get } of replicas) {
        await until('all have the new one', async () => (await get('refreshed')).call === 1)
      }
      t.equal(source.calls.length, 1)
    })

    await t.test('a refresh does not use a newer answer that is stale', async (t) => {
      const clock = new TestClock()
      const { get, source } = await replica(place, { clock })
      source.answerAll()
      await get('aging')
      await until('it is shared', async () => (await place.stations()).includes('aging'))
      await clock.advance(TIMES.ttlMs + 20_000)
      await place.plant('aging', TIMES.ttlMs + 1_000)
      t.match(await get('aging'), { result: 'stale', call: 1 })
      await until('it calls', () => source.calls.length === 2)
    })

    await t.test('the time of the last change is shared with the answer', async (t) => {
      const writer = await place.open()
      const common = { ageMs: 0, jitter: 1, startedAgoMs: 100, version: 'x', json: planted('changed') }
      writer.publish('changed', { ...common, changedAt: 1_767_225_600 }, 60_000)
      await until('it is there', async () => (await place.stations()).includes('changed'))
      const { cache, source } = await replica(place)
      t.equal((await cache.get('changed')).changedAt, 1_767_225_600)
      t.equal(source.calls.length, 0)
    })

    await t.test('what pacing knows of a station is shared with its answer, and noted later', async (t) => {
      const store = await place.open()
      const [known, more] = [
        { ...UNPACED, changes: 3, watchedS: 900, evidence: 9_000 },
        { ...UNPACED, changes: 3, watchedS: 900, served: 5, servedAgesS: 50 },
      ]
      const common = { ageMs: 0, jitter: 1, startedAgoMs: 100, changedAt: 0, json: planted('paced') }
      const shared = async () => {
        const reply = await (await place.open()).leaseGet('paced', '', { token: 'x', ms: 1_000 })
        return reply.kind === 'answer' ? reply.answer.station : reply.kind
      }
      store.publish('paced', { ...common, version: 'one', station: known }, 60_000)
      await until('it is there', async () => (await place.stations()).includes('paced'))
      t.strictSame(await shared(), known)
      await store.noteUses?.([{ id: 'paced', version: 'one', station: more }])
      t.strictSame(await shared(), more)
      store.publish('paced', { ...common, version: 'two' }, 60_000)
      await store.leaseGet('barrier', '', { token: 'x', ms: 1_000 })
      t.strictSame(await shared(), { ...more, served: 0, servedAgesS: 0 }, 'since another answer')
    })

    await t.test('a late answer never replaces the answer of a later call', async (t) => {
      const [late, early] = [await place.open(), await place.open()]
      const [first, second] = [1, 2].map((call) => planted('late').replace('"call":0', `"call":${call}`)) as [
        string,
        string,
      ]
      const common = { ageMs: 0, jitter: 1, changedAt: 0 }
      early.publish('late', { ...common, version: 'later', json: second, startedAgoMs: 100 }, 60_000)
      await until('it is there', async () => (await place.stations()).includes('late'))
      late.publish('late', { ...common, version: 'earlier', json: first, startedAgoMs: 5_000 }, 60_000)
      const { get } = await replica(place)
      await late.leaseGet('barrier', '', { token: 'x', ms: 1_000 })
      t.match(await get('late'), { call: 2 })
    })

    await t.test('a value that is no answer is a miss, an error in the metrics, and replaced', async (t) => {
      for (const kind of ['text', 'of another'] as const) {
        await place.plantNonsense(kind, kind)
        const { get, source, sharedEvents } = await replica(place)
        source.answerAll()
        t.match(await get(kind), { result: 'miss', call: 1 })
        t.strictSame(sharedEvents, ['error'])
        const next = await replica(place)
        t.match(await next.get(kind), { result: 'hit', call: 1 })
      }
    })

    await t.test('an answer from the future has an age of 0, or is dropped', async (t) => {
      await place.plant('future', -3_600_000)
      const clock = new TestClock()
      const { get, source } = await replica(place, { clock })
      if (place.fromFuture === 'dropped') {
        source.answerAll()
        t.match(await get('future'), { result: 'miss', call: 1 })
        return
      }
      t.match(await get('future'), { result: 'hit', ageMs: 0 })
      await clock.advance(TIMES.ttlMs + 1)
      t.match(await get('future'), { result: 'stale' })
    })

    await t.test('stations with similar ids never share an answer', async (t) => {
      const ids = ['}', '{', '{}', 'a}b', '%7D', 'ü', 'a b', ':', 'lease:{x}', '../..']
      const { get, source } = await replica(place)
      source.answerAll()
      for (const id of ids) await get(id)
      const other = await replica(place)
      for (const [i, id] of ids.entries()) t.match(await other.get(id), { result: 'hit', call: i + 1 }, id)
    })

    await t.test('a purge drops the shared answer, whatever characters the id has', async (t) => {
      for (const id of ['purged', '{ä}', 'a b:*']) {
        const { cache, get, source } = await replica(place)
        source.answerAll()
        await get(id)
        await until('it is shared', async () => (await place.stations()).includes(id))
        await cache.purge.one(id)
        t.notOk((await place.stations()).includes(id), id)
        t.match(await get(id), { result: 'miss', call: 2 })
      }
    })

    await t.test('without a token the store is asked and no lease is acquired', async (t) => {
      const store = await place.open()
      const ask = (token: string | null) => store.leaseGet('peeked', '', { token, ms: 10_000 })
      t.strictSame(
        [await ask(null), await ask(null)].map(({ kind }) => kind),
        ['none', 'none'],
      )
      t.match(await ask('one'), { kind: 'lease' })
      t.match(await ask(null), { kind: 'leased-by-peer' })
      const answer = { json: planted('peeked'), ageMs: 0, startedAgoMs: 0, jitter: 1, changedAt: 0 }
      store.publish('peeked', { ...answer, version: 'one' }, 60_000)
      t.match(await ask(null), { kind: 'answer', answer: { version: 'one' } })
      t.match(await store.leaseGet('peeked', 'one', { token: null, ms: 10_000 }), { kind: 'none' })
    })

    await t.test('after a purge only a call with the lease stores its answer', async (t) => {
      const store = await place.open()
      const answer = (version: string) => ({
        version,
        json: planted('raced'),
        ageMs: 0,
        startedAgoMs: 0, // a message that took long makes a call look younger than the purge
        jitter: 1,
        changedAt: 0,
      })
      const ask = (token: string) => store.leaseGet('raced', '', { token, ms: 10_000 })
      t.match(await ask('before'), { kind: 'lease' })
      await store.purge('raced')
      store.publish('raced', answer('before'), 60_000)
      t.match(await ask('after'), { kind: 'lease' })
      store.publish('raced', answer('after'), 60_000)
      t.match(await ask('later'), { kind: 'answer', answer: { version: 'after' } })
    })

    await t.test('a call in flight on another replica does not bring a purged answer back', async (t) => {
      for (const purge of ['one', 'all'] as const) {
        const id = `in flight ${purge}`
        const [calling, purging] = [await replica(place), await replica(place)]
        const before = calling.get(id)
        await until('the call is made', () => calling.source.calls.length > 0)
        await (purge === 'one' ? purging.cache.purge.one(id) : purging.cache.purge.all())
        calling.source.last.answer()
        t.match(await before, { call: 1 })
        purging.source.answerAll()
        t.match(await purging.get(id), { result: 'miss', call: 1 })
        t.equal(purging.source.calls.length, 1)
      }
    })

    await t.test(
      'a purge drops the copies of other replicas, and not what the purging one stores afterwards',
      { skip: open === memoryAlone },
      async (t) => {
        for (const purge of ['one', 'all'] as const) {
          const id = `copied ${purge}`
          await new Promise((resolve) => setTimeout(resolve, 100)) // a purge just before would count for new replicas
          const [purging, other] = [await replica(place), await replica(place)]
          for (const { source } of [purging, other]) source.answerAll()
          await purging.get(id)
          await until('it is shared', async () => (await place.stations()).includes(id))
          t.match(await other.get(id), { result: 'hit', call: 1 })
          await (purge === 'one' ? purging.cache.purge.one(id) : purging.cache.purge.all())
          t.match(await purging.get(id), { result: 'miss', call: 2 })
          await until('the other replica has dropped its copy', () => other.cache.peek(id) === null)
          await until('the new answer is shared', async () => (await place.stations()).includes(id))
          t.match(await other.get(id), { result: 'hit', call: 2 })
          t.match(await purging.get(id), { result: 'hit', call: 2 })
          t.strictSame([purging.source.calls.length, other.source.calls.length], [2, 0])
        }
      },
    )

    await t.test(
      'a purge of everything drops all shared answers, and later answers are shared again',
      async (t) => {
        const { cache, get, source } = await replica(place)
        source.answerAll()
        const ids = Array.from({ length: 1_200 }, (_, i) => `of many ${i}`)
        await Promise.all(ids.map((id) => get(id)))
        await until('all are shared', async () => (await place.stations()).length >= ids.length)
        await cache.purge.all()
        t.strictSame(await place.stations(), [])
        await get('of many 0')
        await until('it is shared again', async () => (await place.stations()).length === 1)
      },
    )
  })
}
