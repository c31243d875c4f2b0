import t from 'tap'
import type { CacheOptions } from '../../src/cache/cache.ts'
import { MAX_WAITERS } from '../../src/cache/cache.ts'
import type { ErrorCode } from '../../src/errors.ts'
import type { CacheResult } from '../../src/events.ts'
import { settled } from '../support/clock.ts'
import { NO_FILTER } from '../support/arbitraries.ts'
import { connector, level } from '../support/stations.ts'
import type { End, Lookup, Rig } from './doubles.ts'
import { callIn, found, lookUp, rig, TIMES } from './doubles.ts'

const { ttlMs, emptyTtlMs, staleWhileRevalidateMs, staleIfErrorMs, softTimeoutMs, flightTimeoutMs } = TIMES

/** The last moment of each row of the freshness table. */
const FRESH = ttlMs
const REVALIDATING = ttlMs + staleWhileRevalidateMs
const USABLE = ttlMs + staleIfErrorMs

/** A cache that holds the answer of call 1 for station a, received so long ago. */
async function aged(ageMs: number, options: Partial<CacheOptions> = {}): Promise<Rig> {
  const made = rig(options)
  made.source.script = (call) => call.answer()
  await found(made)
  made.source.script = () => {}
  await made.clock.advance(ageMs)
  made.told.length = 0
  return made
}

const hit = (call: number, ageMs: number): End => ({
  result: 'hit',
  call,
  ageMs,
  ttlMs: ttlMs - ageMs,
  wasExpired: false,
  isStored: true,
  insteadOf: null,
})
const stale = (call: number, ageMs: number): End => ({ ...hit(call, ageMs), result: 'stale' })
const staleError = (call: number, ageMs: number, insteadOf: ErrorCode): End => ({
  ...hit(call, ageMs),
  result: 'stale_error',
  insteadOf,
})
const fetched = (call: number, { wasExpired }: { wasExpired: boolean }): End => ({
  ...hit(call, 0),
  result: 'miss',
  wasExpired,
})
const shared = (call: number, how: { wasExpired: boolean }): End => ({
  ...fetched(call, how),
  result: 'coalesced',
})

/** So many who wait for station a. */
async function crowd(made: Rig, size = MAX_WAITERS): Promise<Lookup[]> {
  const lookups = Array.from({ length: size }, () => lookUp(made))
  await settled()
  return lookups
}

/** A cache that holds, for station a, that it has no connectors. */
async function agedEmpty(ageMs: number, options: Partial<CacheOptions> = {}): Promise<Rig> {
  const made = rig(options)
  made.source.script = (call) => call.answerEmpty()
  await found(made)
  await made.clock.advance(ageMs)
  return made
}

function ttlLeft(end: End): number | null {
  return 'ttlMs' in end ? end.ttlMs : null
}

/** When calls are made while somebody asks every 100 ms, in ms from the first. */
async function callTimes(made: Rig, forMs: number, id = 'a'): Promise<number[]> {
  const times: number[] = []
  const start = made.clock.now()
  while (made.clock.now() <= start + forMs) {
    const before = made.source.calls.length
    await found(made, id)
    if (made.source.calls.length > before) times.push(made.clock.now() - start)
    await made.clock.advance(100)
  }
  return times
}

/** Every kind of end, the wall clock jumping before each. */
async function storyWithJumps(jumpMs: number) {
  const made = rig()
  const ends: End[] = []
  const look = async (ms: number) => {
    made.clock.setWall(made.clock.wall() + jumpMs)
    await made.clock.advance(ms)
    ends.push(await found(made))
  }
  made.source.answerAll()
  for (const ms of [0, FRESH, 1, staleWhileRevalidateMs, 1_000, FRESH + 5]) await look(ms)
  made.source.failAll()
  for (const ms of [REVALIDATING, 500, 500, USABLE]) await look(ms)
  return { ends, calls: made.source.calls.length }
}

/** A small generator of numbers from 0 up to 1, the same in every run. */
function seeded(seed = 1): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

await t.test('upstream answers', async (t) => {
  await t.test('a station not held: the caller waits for one call', async (t) => {
    const made = rig()
    const lookup = lookUp(made)
    await settled()
    t.equal(lookup.ended, null)
    t.strictSame(made.source.last.call, { lowPriority: false, hasStale: false })
    made.source.last.answer()
    t.strictSame(await lookup.end, fetched(1, { wasExpired: false }))
  })

  for (const ageMs of [0, 1, FRESH - 1, FRESH]) {
    await t.test(`${ageMs} ms old: at once, upstream is not asked`, async (t) => {
      const made = await aged(ageMs)
      t.strictSame(await found(made), hit(1, ageMs))
      t.equal(made.source.calls.length, 1)
    })
  }

  for (const ageMs of [FRESH + 1, REVALIDATING - 1, REVALIDATING]) {
    await t.test(`${ageMs} ms old: at once and old, one refresh in the background`, async (t) => {
      const made = await aged(ageMs)
      t.strictSame(await found(made), stale(1, ageMs))
      t.equal(made.source.calls.length, 2)
      t.strictSame(made.source.last.call, { lowPriority: true, hasStale: true })
      made.source.last.answer()
      await settled()
      t.strictSame(await found(made), hit(2, 0))
      t.equal(made.source.calls.length, 2)
    })
  }

  for (const ageMs of [REVALIDATING + 1, USABLE, USABLE + 1, 10 * USABLE]) {
    await t.test(`${ageMs} ms old: the caller waits for the refresh`, async (t) => {
      const made = await aged(ageMs)
      const lookup = lookUp(made)
      await settled()
      t.equal(lookup.ended, null)
      t.strictSame(made.source.last.call, { lowPriority: false, hasStale: true })
      made.source.last.answer()
      t.strictSame(await lookup.end, fetched(2, { wasExpired: true }))
      t.strictSame(await found(made), hit(2, 0))
      t.equal(made.source.calls.length, 2)
    })
  }

  await t.test(
    'who is served at once gets it without a promise, and is not asked for a signal',
    async (t) => {
      for (const ageMs of [0, FRESH, REVALIDATING]) {
        const { cache } = await aged(ageMs)
        const { result } = cache.get('a', () => t.fail('it need not wait') as never) as {
          result: CacheResult
        }
        t.equal(result, ageMs <= FRESH ? 'hit' : 'stale')
      }
    },
  )
})

/** Nobody could say what is true now, and so an old answer is better. What is no ServiceError is ours. */
const TROUBLES: readonly { thrown: unknown; code: ErrorCode; backsOff: boolean }[] = [
  { thrown: 'TooManyRequests', code: 'TooManyRequests', backsOff: false },
  { thrown: 'UpstreamRefused', code: 'UpstreamRefused', backsOff: false },
  { thrown: 'UpstreamUnavailable', code: 'UpstreamUnavailable', backsOff: false },
  { thrown: 'QuotaExhausted', code: 'QuotaExhausted', backsOff: false },
  { thrown: 'UpstreamFailed', code: 'UpstreamFailed', backsOff: true },
  { thrown: 'UpstreamTimeout', code: 'UpstreamTimeout', backsOff: true },
  { thrown: 'InternalError', code: 'InternalError', backsOff: true },
  { thrown: new TypeError('a bug'), code: 'InternalError', backsOff: true },
]

for (const { thrown, code, backsOff } of TROUBLES) {
  await t.test(`upstream fails with ${thrown as string}`, async (t) => {
    await t.test('a station not held: the error, and nothing is kept', async (t) => {
      const made = rig()
      made.source.failAll(thrown)
      t.strictSame(await found(made), { error: code })
      t.equal(made.cache.entries, 0)
      t.equal(made.cache.bytes, 0)
    })

    await t.test('fresh: nobody asks', async (t) => {
      const made = await aged(FRESH)
      made.source.failAll(thrown)
      t.strictSame(await found(made), hit(1, FRESH))
      t.equal(made.source.calls.length, 1)
    })

    for (const ageMs of [FRESH + 1, REVALIDATING]) {
      await t.test(`${ageMs} ms old: the old answer, before and after the refresh failed`, async (t) => {
        const made = await aged(ageMs)
        made.source.failAll(thrown)
        t.strictSame(await found(made), stale(1, ageMs))
        t.equal(made.source.calls.length, 2)
        t.strictSame(await found(made), backsOff ? staleError(1, ageMs, code) : stale(1, ageMs))
        t.equal(made.source.calls.length, backsOff ? 2 : 3)
      })
    }

    for (const ageMs of [REVALIDATING + 1, USABLE]) {
      await t.test(`${ageMs} ms old: the old answer in place of the error`, async (t) => {
        const made = await aged(ageMs)
        made.source.failAll(thrown)
        t.strictSame(await found(made), staleError(1, ageMs, code))
        t.strictSame(await found(made), staleError(1, ageMs, code))
        t.equal(made.source.calls.length, backsOff ? 2 : 3)
      })
    }

    await t.test(`${USABLE + 1} ms old: too old, the error`, async (t) => {
      const made = await aged(USABLE + 1)
      made.source.failAll(thrown)
      t.strictSame(await found(made), { error: code })
      t.strictSame(await found(made), { error: code })
      t.equal(made.source.calls.length, backsOff ? 2 : 3)
    })

    await t.test('the error takes no answer away: the next success is served, then held', async (t) => {
      const made = await aged(REVALIDATING + 1)
      made.source.failAll(thrown)
      await found(made)
      await made.clock.advance(1_000)
      made.source.answerAll()
      t.strictSame(await found(made), fetched(3, { wasExpired: true }))
      t.strictSame(await found(made), hit(3, 0))
    })
  })
}

for (const code of ['InvalidParameter', 'NotFound'] as const) {
  await t.test(`upstream refuses the id with ${code}`, async (t) => {
    await t.test('the refusal is told as it is, to all who wait', async (t) => {
      const made = rig()
      const lookups = [lookUp(made), lookUp(made)]
      made.source.last.fail(code)
      for (const { end } of lookups) t.strictSame(await end, { error: code })
      t.equal(made.cache.entries, 0)
    })

    await t.test(
      'it is told again without a call for the empty TTL, which telling does not extend',
      async (t) => {
        const made = rig()
        made.source.failAll(code)
        await found(made)
        for (const ms of [1, emptyTtlMs / 2 - 1, emptyTtlMs / 2 - 1]) {
          await made.clock.advance(ms)
          t.strictSame(await found(made), { error: code })
        }
        t.equal(made.source.calls.length, 1)
        await made.clock.advance(1)
        made.source.answerAll()
        t.strictSame(await found(made), fetched(2, { wasExpired: false }))
      },
    )

    for (const ageMs of [REVALIDATING + 1, USABLE, USABLE + 1]) {
      await t.test(`${ageMs} ms old: no old answer stands in for it`, async (t) => {
        const made = await aged(ageMs)
        made.source.failAll(code)
        t.strictSame(await found(made), { error: code })
        t.strictSame(await found(made), { error: code })
        t.equal(made.source.calls.length, 2)
      })
    }

    await t.test('learnt by a refresh in the background, it holds from the next lookup on', async (t) => {
      const made = await aged(FRESH + 1)
      made.source.failAll(code)
      t.strictSame(await found(made), stale(1, FRESH + 1))
      t.strictSame(await found(made), { error: code })
      t.equal(made.source.calls.length, 2)
    })

    await t.test('it replaces no answer: once forgotten, the old one is there for a failure', async (t) => {
      const made = await aged(REVALIDATING + 1)
      made.source.failAll(code)
      await found(made)
      await made.clock.advance(emptyTtlMs)
      made.source.failAll()
      const ageMs = REVALIDATING + 1 + emptyTtlMs
      t.strictSame(await found(made), staleError(1, ageMs, 'UpstreamFailed'))
    })

    await t.test('it is told of this id alone', async (t) => {
      const made = rig()
      made.source.failAll(code)
      await found(made)
      made.source.answerAll()
      t.strictSame(await found(made, 'b'), fetched(2, { wasExpired: false }))
    })
  })
}

await t.test('an error is never an answer: 200, 500, 500, 404, 200', async (t) => {
  const made = await aged(REVALIDATING + 1)
  made.source.failAll('UpstreamFailed')
  await found(made)
  await made.clock.advance(10_000)
  await found(made)
  await made.clock.advance(10_000)
  made.source.failAll('NotFound')
  t.strictSame(await found(made), { error: 'NotFound' })
  t.equal(made.cache.entries, 1, 'the answer alone')
  await made.clock.advance(emptyTtlMs)
  made.source.answerAll()
  t.strictSame(await found(made), fetched(5, { wasExpired: true }))
})

await t.test(
  'the longer of the two windows is how long an old answer may stand in for an error',
  async (t) => {
    const options = { staleWhileRevalidateMs: 100_000, staleIfErrorMs: 0 }
    const made = await aged(ttlMs + 100_000, options)
    made.source.failAll()
    await found(made)
    t.strictSame(await found(made), staleError(1, ttlMs + 100_000, 'UpstreamFailed'))
    await made.clock.advance(1)
    t.strictSame(await found(made), { error: 'UpstreamFailed' })
  },
)

await t.test('without windows an answer is gone with its TTL', async (t) => {
  const made = await aged(FRESH + 1, { staleWhileRevalidateMs: 0, staleIfErrorMs: 0 })
  made.source.failAll()
  t.strictSame(await found(made), { error: 'UpstreamFailed' })
})

await t.test('one call at a time for a station', async (t) => {
  await t.test('500 who find nothing wait for one call', async (t) => {
    const made = rig()
    const lookups = Array.from({ length: 500 }, () => lookUp(made))
    await settled()
    t.equal(made.source.calls.length, 1)
    made.source.last.answer()
    const [first, ...others] = await Promise.all(lookups.map(({ end }) => end))
    t.strictSame(first, fetched(1, { wasExpired: false }))
    for (const end of others) t.strictSame(end, shared(1, { wasExpired: false }))
  })

  await t.test('64 stale hits make one refresh, however long it takes', async (t) => {
    const made = await aged(FRESH + 1)
    for (let i = 0; i < 32; i++) t.match(made.cache.get('a'), { result: 'stale' })
    for (let i = 0; i < 32; i++) {
      await made.clock.advance(10)
      t.strictSame(await found(made), stale(1, FRESH + 1 + 10 * (i + 1)))
    }
    t.equal(made.source.calls.length, 2)
    t.equal(made.cache.flights, 1)
  })

  await t.test('who has to wait joins the refresh that others began', async (t) => {
    const made = await aged(REVALIDATING)
    await found(made)
    await made.clock.advance(1)
    const lookup = lookUp(made)
    await settled()
    t.equal(made.source.calls.length, 2)
    made.source.last.answer()
    t.strictSame(await lookup.end, shared(2, { wasExpired: true }))
  })

  await t.test('an error is shared by all who wait, each with the old answer if there is one', async (t) => {
    for (const ageMs of [REVALIDATING + 1, USABLE + 1]) {
      const made = await aged(ageMs)
      const lookups = Array.from({ length: 64 }, () => lookUp(made))
      made.source.last.fail()
      const expected = ageMs > USABLE ? { error: 'UpstreamFailed' } : staleError(1, ageMs, 'UpstreamFailed')
      for (const { end } of lookups) t.strictSame(await end, expected)
      for (let i = 0; i < 500; i++) t.strictSame(await lookUp(made).end, expected)
      t.equal(made.source.calls.length, 2, 'nobody retries one by one')
    }
  })

  await t.test('who asks again on hearing of a failure makes no call', async (t) => {
    const made = rig()
    made.source.script = (call) => call.fail()
    const again = lookUp(made).end.then(() => lookUp(made).end)
    t.strictSame(await again, { error: 'UpstreamFailed' })
    t.equal(made.source.calls.length, 1)
  })

  await t.test('nor does who asks at any moment around it', async (t) => {
    for (let turns = 0; turns < 20; turns++) {
      const made = rig()
      lookUp(made)
      await settled()
      made.source.last.fail()
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      t.strictSame(await found(made), { error: 'UpstreamFailed' })
      t.equal(made.source.calls.length, 1)
    }
  })

  await t.test('a source that throws instead of rejecting is a failure like any other', async (t) => {
    const made = rig()
    made.source.script = () => {
      throw new Error('a bug')
    }
    t.strictSame(await found(made), { error: 'InternalError' })
    t.equal(made.cache.flights, 0)
  })

  await t.test('a flight reaches its deadline: the error, and the next asks anew', async (t) => {
    const made = rig()
    const lookups = [lookUp(made), lookUp(made)]
    await made.clock.advance(flightTimeoutMs - 1)
    t.strictSame(
      lookups.map(({ ended }) => ended),
      [null, null],
    )
    await made.clock.advance(1)
    for (const { end } of lookups) t.strictSame(await end, { error: 'UpstreamTimeout' })
    await made.clock.advance(1_000)
    const next = lookUp(made)
    await settled()
    made.source.call(2).answer()
    t.strictSame(await next.end, fetched(2, { wasExpired: false }))
  })
})

await t.test('so many may wait for one station, no more', async (t) => {
  await t.test(
    `the ${MAX_WAITERS + 1}th is told to come back; a place is free when one leaves`,
    async (t) => {
      const made = rig()
      const [first, ...others] = await crowd(made, MAX_WAITERS - 1)
      const last = lookUp(made)
      t.strictSame(await found(made), { error: 'UpstreamUnavailable' })
      const error = await Promise.resolve(made.cache.get('a')).catch((error: unknown) => error)
      t.match(error, { code: 'UpstreamUnavailable', retryAfterMs: 1_000 })
      const elsewhere = lookUp(made, 'b')
      made.source.last.answer()
      t.strictSame(await elsewhere.end, fetched(2, { wasExpired: false }), 'another station is not concerned')
      first?.leave()
      await settled()
      const another = lookUp(made)
      t.strictSame(await found(made), { error: 'UpstreamUnavailable' })
      made.source.call(1).answer()
      const ends = await Promise.all([...others, last, another].map(({ end }) => end))
      t.strictSame(ends[0], shared(1, { wasExpired: false }))
      t.equal(ends.filter((end) => 'error' in end).length, 0)
      t.equal(made.source.calls.length, 2)
      t.equal(made.told.filter(({ result }) => result === 'error').length, 3)
    },
  )

  await t.test('with an old answer at hand that is what the next one gets', async (t) => {
    const made = await aged(REVALIDATING + 1)
    await crowd(made)
    t.strictSame(await found(made), staleError(1, REVALIDATING + 1, 'UpstreamUnavailable'))
  })
})

await t.test('whoever leaves touches nobody else', async (t) => {
  await t.test('the first leaves: the others get the answer of its call', async (t) => {
    const made = rig()
    const [first, ...others] = [lookUp(made), lookUp(made), lookUp(made)]
    first?.leave()
    t.strictSame(await first?.end, { error: 'left' })
    made.source.last.answer()
    for (const { end } of others) t.strictSame(await end, shared(1, { wasExpired: false }))
    t.equal(made.source.calls.length, 1)
  })

  await t.test('all leave: the answer is kept', async (t) => {
    const made = rig()
    const lookups = [lookUp(made), lookUp(made)]
    for (const { leave } of lookups) leave()
    for (const { end } of lookups) t.strictSame(await end, { error: 'left' })
    t.equal(made.cache.flights, 1)
    made.source.last.answer()
    await settled()
    t.equal(made.cache.flights, 0)
    t.strictSame(await found(made), hit(1, 0))
  })

  await t.test('who leaves while an old answer is held gets none', async (t) => {
    const made = await aged(REVALIDATING + 1)
    const lookup = lookUp(made)
    await settled()
    lookup.leave()
    t.strictSame(await lookup.end, { error: 'left' })
    made.source.last.fail()
    await made.clock.advance(softTimeoutMs)
    t.equal(made.clock.pending, 0)
    t.strictSame(made.told, [{ result: 'miss', ageSeconds: null }])
  })
})

await t.test('an old answer is better than waiting', async (t) => {
  const ageMs = 100_000

  await t.test('past the soft timeout, not a millisecond before', async (t) => {
    const made = await aged(ageMs)
    const lookup = lookUp(made)
    await made.clock.advance(softTimeoutMs - 1)
    t.equal(lookup.ended, null)
    await made.clock.advance(1)
    t.strictSame(lookup.ended, stale(1, ageMs + softTimeoutMs))
  })

  await t.test('under it the new one is served, or the error replaced', async (t) => {
    const made = await aged(ageMs)
    const lookup = lookUp(made)
    await made.clock.advance(softTimeoutMs - 1)
    made.source.last.answer()
    t.strictSame(await lookup.end, fetched(2, { wasExpired: true }))
    t.equal(made.clock.pending, 0)

    const other = await aged(ageMs)
    const failing = lookUp(other)
    await other.clock.advance(softTimeoutMs - 1)
    other.source.last.fail()
    t.strictSame(await failing.end, staleError(1, ageMs + softTimeoutMs - 1, 'UpstreamFailed'))
    t.equal(other.clock.pending, 0)
  })

  await t.test('the call goes on, and its answer is there for the next', async (t) => {
    const made = await aged(ageMs)
    lookUp(made)
    await made.clock.advance(softTimeoutMs)
    t.equal(made.cache.flights, 1)
    made.source.last.answer()
    await settled()
    t.strictSame(await found(made), hit(2, 0))
    t.equal(made.source.calls.length, 2)
  })

  await t.test('each has its own patience, from its own arrival', async (t) => {
    const made = await aged(ageMs)
    const first = lookUp(made)
    await made.clock.advance(500)
    const second = lookUp(made)
    await made.clock.advance(300)
    t.strictSame(first.ended, stale(1, ageMs + 800))
    t.equal(second.ended, null)
    await made.clock.advance(500)
    t.strictSame(second.ended, stale(1, ageMs + 1_300))
    t.equal(made.source.calls.length, 2)
  })

  await t.test('while it is young enough at that moment', async (t) => {
    const atTheEdge = await aged(USABLE - softTimeoutMs)
    const served = lookUp(atTheEdge)
    await atTheEdge.clock.advance(softTimeoutMs)
    t.strictSame(served.ended, stale(1, USABLE))

    const over = await aged(USABLE - softTimeoutMs + 1)
    const waits = lookUp(over)
    await over.clock.advance(softTimeoutMs)
    t.equal(waits.ended, null)
    over.source.last.answer()
    t.strictSame(await waits.end, fetched(2, { wasExpired: true }))

    const failing = await aged(USABLE - softTimeoutMs + 1)
    const fails = lookUp(failing)
    await failing.clock.advance(softTimeoutMs)
    failing.source.last.fail()
    t.strictSame(await fails.end, { error: 'UpstreamFailed' })
  })

  await t.test('who has none, or one too old, waits to the end', async (t) => {
    for (const made of [rig(), await aged(USABLE + 1)]) {
      const lookup = lookUp(made)
      await made.clock.advance(flightTimeoutMs - 1)
      t.equal(lookup.ended, null)
      await made.clock.advance(1)
      t.strictSame(lookup.ended, { error: 'UpstreamTimeout' })
    }
  })
})

await t.test('a station without connectors has a TTL of its own', async (t) => {
  await t.test('fresh to its last moment, and then old for as long as any other', async (t) => {
    const rows = [
      [emptyTtlMs, 'hit', 1],
      [emptyTtlMs + 1, 'stale', 2],
      [emptyTtlMs + staleWhileRevalidateMs, 'stale', 2],
    ] as const
    for (const [ageMs, result, calls] of rows) {
      const made = await agedEmpty(ageMs)
      const end = await found(made)
      t.match(end, { result, call: 1, ageMs })
      t.equal(ttlLeft(end), emptyTtlMs - ageMs)
      t.equal(made.source.calls.length, calls)
    }
    for (const ageMs of [emptyTtlMs + staleIfErrorMs, emptyTtlMs + staleIfErrorMs + 1]) {
      const made = await agedEmpty(ageMs)
      made.source.failAll()
      const old = ageMs <= emptyTtlMs + staleIfErrorMs
      t.match(await found(made), old ? { result: 'stale_error' } : { error: 'UpstreamFailed' })
    }
  })

  await t.test('shorter or longer than the other', async (t) => {
    const made = await agedEmpty(1_001, { emptyTtlMs: 1_000 })
    t.match(await found(made), { result: 'stale', call: 1 })
  })

  await t.test('a station that gets connectors, or loses them, changes its TTL', async (t) => {
    const made = await agedEmpty(emptyTtlMs + 1)
    made.source.answerAll()
    await found(made)
    t.equal(ttlLeft(await found(made)), ttlMs)
    await made.clock.advance(ttlMs + 1)
    made.source.script = (call) => call.answerEmpty()
    await found(made)
    t.equal(ttlLeft(await found(made)), emptyTtlMs)
    t.equal(made.cache.entries, 1)
  })
})

await t.test('a station whose call failed is not asked for again at once', async (t) => {
  const DOUBLING = [0, 1_000, 3_000, 7_000, 15_000, 25_000, 35_000]

  await t.test('but after 1, 2, 4, 8, 10, 10 s while it fails', async (t) => {
    const made = rig()
    made.source.failAll()
    t.strictSame(await callTimes(made, 35_000), DOUBLING)
    t.equal(new Set(made.told.map(({ result }) => result)).size, 1, 'the same error meanwhile')
  })

  await t.test('also while an old answer is served', async (t) => {
    for (const ageMs of [FRESH + 1, REVALIDATING + 1]) {
      const made = await aged(ageMs, { staleWhileRevalidateMs: ageMs <= REVALIDATING ? 100_000 : 30_000 })
      made.source.failAll('UpstreamTimeout')
      t.strictSame(await callTimes(made, 35_000), DOUBLING)
      t.notOk(made.told.some(({ result }) => result === 'error'))
    }
  })

  await t.test('an answer ends it, and the next failure begins at 1 s', async (t) => {
    const made = rig()
    made.source.failAll()
    await callTimes(made, 7_000)
    await made.clock.advance(10_000)
    made.source.answerAll()
    await found(made)
    await made.clock.advance(USABLE + 1)
    made.source.failAll()
    t.strictSame(await callTimes(made, 3_000), [0, 1_000, 3_000])
  })

  await t.test('other stations are asked for', async (t) => {
    const made = rig()
    made.source.failAll()
    await found(made)
    t.strictSame(await callTimes(made, 3_000, 'b'), [0, 1_000, 3_000])
  })

  await t.test('without a call of its own there is nothing to back off from', async (t) => {
    const made = rig()
    made.source.failAll('UpstreamUnavailable')
    t.equal((await callTimes(made, 1_000)).length, 11)
  })
})

await t.test('answers stored together expire apart, none late', async (t) => {
  const made = rig({ maxEntries: 2_000 }, seeded())
  made.source.answerAll()
  const ids = Array.from({ length: 1_000 }, (_, i) => `station-${i}`)
  const ttls: number[] = []
  for (const id of ids) {
    await lookUp(made, id).end
    const end = await lookUp(made, id).end
    if ('ttlMs' in end) ttls.push(end.ttlMs)
  }
  t.equal(ttls.length, 1_000)
  t.ok(Math.max(...ttls) <= ttlMs, 'none over the TTL')
  t.ok(Math.min(...ttls) >= 0.9 * ttlMs, 'none shortened by more than a tenth')
  const mean = ttls.reduce((sum, ttl) => sum + ttl, 0) / 1_000
  t.ok(mean > 0.98 * ttlMs, 'the spread costs less than 2 % more calls')
  const parts = ttls.map((ttl) => Math.floor((1 - ttl / ttlMs) * 100))
  const inPart = (part: number) => parts.filter((one) => one === part).length
  t.ok(inPart(0) < 600, `${inPart(0)} of 1000 expire in the last hundredth of the TTL`)
  for (let part = 0; part < 4; part++) t.ok(inPart(part) > 25, `${inPart(part)} of 1000 in part ${part}`)

  await t.test('what is told is what is done', async (t) => {
    await made.clock.advance(0.98 * ttlMs)
    for (const [i, id] of ids.entries()) {
      const fresh = (ttls[i] as number) >= 0.98 * ttlMs
      const end = await lookUp(made, id).end
      if (!('result' in end) || end.result !== (fresh ? 'hit' : 'stale')) t.fail(`${id} is ${String(fresh)}`)
    }
    t.equal(made.source.calls.length, 1_000 + ttls.filter((ttl) => ttl < 0.98 * ttlMs).length)
  })
})

await t.test('with a TTL of 0', async (t) => {
  const forever = 3_600_000
  const options = {
    ttlMs: 0,
    emptyTtlMs: forever,
    staleWhileRevalidateMs: forever,
    staleIfErrorMs: forever,
  }

  await t.test('nothing is kept, and everyone who comes later has a call', async (t) => {
    for (const connectors of [[], [connector('Type2', level(22))]]) {
      const made = rig(options)
      made.source.script = (call) => call.answer(connectors)
      for (const call of [1, 2, 3]) {
        t.match(await found(made), { result: 'miss', call, isStored: false, wasExpired: false })
        t.equal(made.cache.entries, 0)
        t.equal(made.cache.bytes, 0)
      }
    }
  })

  await t.test('a refusal is not remembered either', async (t) => {
    const made = rig(options)
    made.source.failAll('NotFound')
    await found(made)
    made.source.answerAll()
    t.match(await found(made), { result: 'miss', call: 2 })
  })

  await t.test('no old answer stands in for an error', async (t) => {
    const made = rig(options)
    made.source.answerAll()
    await found(made)
    made.source.failAll()
    t.strictSame(await found(made), { error: 'UpstreamFailed' })
  })

  await t.test('calls in flight are shared all the same, and failures backed off from', async (t) => {
    const made = rig(options)
    const lookups = Array.from({ length: 10 }, () => lookUp(made))
    await settled()
    made.source.last.answer()
    const [first, ...others] = await Promise.all(lookups.map(({ end }) => end))
    const notKept = { ttlMs: 0, isStored: false }
    t.strictSame(first, { ...fetched(1, { wasExpired: false }), ...notKept })
    for (const end of others) t.strictSame(end, { ...shared(1, { wasExpired: false }), ...notKept })
    t.equal(made.source.calls.length, 1)
    made.source.failAll()
    await found(made)
    await found(made)
    t.equal(made.source.calls.length, 2)
  })
})

await t.test(
  'only the monotonic clock counts: a wall clock that jumps by an hour has no effect',
  async (t) => {
    const HOUR = 3_600_000
    const still = await storyWithJumps(0)
    t.equal(new Set(still.ends.map((end) => ('result' in end ? end.result : 'error'))).size, 5)
    t.strictSame(await storyWithJumps(HOUR), still)
    t.strictSame(await storyWithJumps(-HOUR), still)
  },
)

await t.test('while the quota must be made to last', async (t) => {
  const stretchedMs = 90_000

  await t.test('the stretched TTL is the one in force, and the other windows follow it', async (t) => {
    const rows = [
      [stretchedMs, { result: 'hit', ttlMs: 0 }],
      [stretchedMs + 1, { result: 'stale', ttlMs: -1 }],
      [stretchedMs + staleWhileRevalidateMs, { result: 'stale' }],
      [stretchedMs + staleWhileRevalidateMs + 1, { result: 'stale_error' }],
      [stretchedMs + staleIfErrorMs, { result: 'stale_error' }],
      [stretchedMs + staleIfErrorMs + 1, { error: 'UpstreamFailed' }],
    ] as const
    for (const [ageMs, end] of rows) {
      const made = await aged(ageMs)
      made.stretchTo(stretchedMs)
      made.source.failAll()
      t.match(await found(made), end)
    }
  })

  await t.test('it holds for what is held already, and no longer than it is in force', async (t) => {
    const made = await aged(REVALIDATING + 1)
    made.stretchTo(stretchedMs)
    t.match(await found(made), { result: 'hit' })
    made.stretchTo(null)
    const lookup = lookUp(made)
    await settled()
    t.equal(lookup.ended, null)
    t.equal(made.source.calls.length, 2)
  })

  await t.test('a station without connectors keeps its own time', async (t) => {
    const made = rig()
    made.source.script = (call) => call.answerEmpty()
    await found(made)
    for (const stretched of [stretchedMs, emptyTtlMs - 1]) {
      made.stretchTo(stretched)
      t.match(await found(made), { result: 'hit', ttlMs: emptyTtlMs })
    }
  })
})

await t.test('each lookup is counted once, with the age that was served', async (t) => {
  await t.test('one of each kind', async (t) => {
    const made = rig()
    const lookups = [lookUp(made), lookUp(made), lookUp(made)]
    lookups[2]?.leave()
    await settled()
    made.source.last.answer()
    await settled()
    await made.clock.advance(FRESH)
    await found(made)
    await made.clock.advance(1)
    await found(made)
    made.source.last.fail()
    await settled()
    await found(made)
    await made.clock.advance(USABLE)
    made.source.failAll()
    await found(made)
    await found(made)
    t.strictSame(made.told, [
      { result: 'coalesced', ageSeconds: null },
      { result: 'miss', ageSeconds: 0 },
      { result: 'coalesced', ageSeconds: 0 },
      { result: 'hit', ageSeconds: 30 },
      { result: 'stale', ageSeconds: 30.001 },
      { result: 'stale_error', ageSeconds: 30.001 },
      { result: 'error', ageSeconds: null },
      { result: 'error', ageSeconds: null },
    ])
    t.equal(made.cache.lookups, made.told.length)
  })

  await t.test('an old answer at the soft timeout is stale, whatever the flight does later', async (t) => {
    const made = await aged(REVALIDATING + 1)
    lookUp(made)
    await made.clock.advance(softTimeoutMs)
    made.source.last.fail()
    await settled()
    t.strictSame(made.told, [{ result: 'stale', ageSeconds: (REVALIDATING + 1 + softTimeoutMs) / 1_000 }])
  })
})

await t.test('a late answer never replaces a newer one', async (t) => {
  /** Call 1 is past its deadline and still under way; so long after, call 2 may begin. */
  const abandoned = async (options: Partial<CacheOptions> = {}) => {
    const made = rig(options)
    const lookup = lookUp(made)
    await made.clock.advance(flightTimeoutMs)
    t.strictSame(lookup.ended, { error: 'UpstreamTimeout' })
    return made
  }

  await t.test('the answer of a later call stays', async (t) => {
    const made = await abandoned()
    await made.clock.advance(1_000)
    made.source.answerAll()
    await found(made)
    made.source.call(1).answer()
    await made.clock.advance(10)
    t.strictSame(await found(made), hit(2, 10))
  })

  await t.test('so does a refusal by a later call', async (t) => {
    const made = await abandoned()
    await made.clock.advance(1_000)
    made.source.failAll('NotFound')
    await found(made)
    made.source.call(1).answer()
    await settled()
    t.strictSame(await found(made), { error: 'NotFound' })
    t.equal(made.source.calls.length, 2)
  })

  await t.test('it ends no back-off after a later failure', async (t) => {
    const made = await abandoned({ ttlMs: 0 })
    await made.clock.advance(1_000)
    made.source.failAll('UpstreamFailed')
    await found(made)
    made.source.call(1).answer()
    await settled()
    t.strictSame(await found(made), { error: 'UpstreamFailed' })
    t.equal(made.source.calls.length, 2)
  })

  await t.test('it does not touch the call that is under way', async (t) => {
    const made = await abandoned()
    await made.clock.advance(1_000)
    const second = lookUp(made)
    await settled()
    made.source.call(1).fail()
    await settled()
    t.equal(made.cache.flights, 1)
    made.source.call(2).answer()
    t.strictSame(await second.end, fetched(2, { wasExpired: false }))
  })

  await t.test('with nothing newer it is welcome', async (t) => {
    const made = await abandoned()
    made.source.call(1).answer()
    await settled()
    t.strictSame(await found(made), hit(1, 0))
  })
})

await t.test('memory is bounded', async (t) => {
  await t.test('flights are out of reach for eviction: 2 places, 100 stations, 100 answers', async (t) => {
    const made = rig({ maxEntries: 2 })
    const lookups = Array.from({ length: 100 }, (_, i) => lookUp(made, `station-${i}`))
    await settled()
    t.equal(made.cache.flights, 100)
    for (const call of made.source.calls) call.answer()
    for (const [i, { end }] of lookups.entries())
      t.strictSame(await end, fetched(i + 1, { wasExpired: false }))
    t.equal(made.cache.entries, 2)
    t.equal(made.evictions(), 98)
  })

  await t.test('10,000 random ids: neither bound is ever passed, and hot stations stay', async (t) => {
    const maxEntries = 500
    const maxBytes = 400_000
    const made = rig({ maxEntries, maxBytes })
    const random = seeded()
    made.source.script = (call) => {
      if (call.id.startsWith('unknown')) call.answerEmpty()
      else call.answer()
    }
    const hot = Array.from({ length: 50 }, (_, i) => `hot-${i}`)
    for (const id of hot) await lookUp(made, id).end
    const lookAndRender = async (id: string) => {
      const { answer } = await made.cache.get(id)
      answer.render(NO_FILTER, random() < 0.5 ? 'json' : 'xml', random() < 0.05)
    }

    let most = 0
    for (let i = 0; i < 10_000; i++) {
      const sprayed = random() < 0.75 ? 'unknown' : 'known'
      const isHot = i % 10 === 0
      await lookAndRender(isHot ? (hot[(i / 10) % 50] as string) : `${sprayed}-${Math.floor(random() * 1e9)}`)
      most = Math.max(most, made.cache.bytes)
      if (made.cache.entries > maxEntries || made.cache.bytes > maxBytes) t.fail('a bound is passed')
    }
    t.ok(most > 0.8 * maxBytes, 'the room was needed')
    t.equal(made.cache.flights, 0)
    t.equal(made.source.calls.filter(({ id }) => id.startsWith('hot')).length, 50, 'asked for once each')
  })

  await t.test(
    'a spray of unknown ids pushes no station out, though nobody asks for it meanwhile',
    async (t) => {
      const made = rig({ maxEntries: 100 })
      made.source.answerAll()
      for (let i = 0; i < 90; i++) await lookUp(made, `station-${i}`).end
      made.source.script = (call) => call.answerEmpty()
      for (let i = 0; i < 1_000; i++) await lookUp(made, `unknown-${i}`).end
      for (let i = 0; i < 90; i++) t.match(await found(made, `station-${i}`), { result: 'hit', call: i + 1 })
      t.ok(made.cache.entries <= 100)
    },
  )
})

await t.test('what is in use is known: each station held and how long ago it was asked for', async (t) => {
  const made = rig()
  made.source.answerAll()
  await found(made, 'first')
  await made.clock.advance(1_000)
  await found(made, 'second')
  await made.clock.advance(2_000)
  made.source.script = (call) => call.answerEmpty()
  await found(made, 'unknown')
  t.strictSame([...made.cache.sinceLastUse()], [2_000, 3_000], 'stations with connectors, the latest first')
  await found(made, 'first')
  await made.clock.advance(5)
  t.strictSame([...made.cache.sinceLastUse()], [5, 2_005])
})

await t.test('a look at what is held costs nothing', async (t) => {
  await t.test('it tells the age and what is left of the TTL, whatever they are', async (t) => {
    for (const ageMs of [0, FRESH, REVALIDATING, 10 * USABLE]) {
      const made = await aged(ageMs)
      const seen = made.cache.peek('a')
      t.strictSame([seen?.ageMs, seen?.ttlMs], [ageMs, ttlMs - ageMs])
      t.equal(callIn(seen?.answer.json ?? ''), 1)
      t.equal(made.cache.peek('b'), null)
    }
  })

  await t.test('it makes no call, is no lookup, and is no use that keeps a station longer', async (t) => {
    const made = rig({ maxEntries: 2 })
    made.source.answerAll()
    await found(made, 'a')
    await made.clock.advance(REVALIDATING + 1)
    await found(made, 'b')
    const [before, told] = [[...made.cache.sinceLastUse()], made.told.length]
    made.cache.peek('a')
    t.equal(made.source.calls.length, 2)
    t.equal(made.cache.lookups, 2)
    t.equal(made.told.length, told)
    t.strictSame([...made.cache.sinceLastUse()], before)
    await found(made, 'c')
    t.equal(made.cache.peek('a'), null, 'the first to leave all the same')
  })
})
