import t from 'tap'
import { MAX_PENDING, PendingPurges } from '../../src/cache/pending-purges.ts'
import type { AnswerArchive, SharedAnswer } from '../../src/cache/shared-store.ts'
import { settled, TestClock } from '../support/clock.ts'
import { SharedDouble } from '../support/shared-double.ts'

const answer: SharedAnswer = {
  version: 'v',
  json: '{}',
  ageMs: 0,
  startedAgoMs: 0,
  jitter: 1,
  changedAt: 0,
}

function setup(archive: AnswerArchive | null = null) {
  const clock = new TestClock()
  const shared = new SharedDouble(clock)
  const events: string[] = []
  const observer = {
    purgePending: () => void events.push('pending'),
    purgeApplied: () => void events.push('applied'),
  }
  const purges = new PendingPurges({ store: shared, archive, clock, observer })
  const kindOf = async (id: string) => (await purges.store.leaseGet(id, '', { token: null, ms: 1_000 })).kind
  const plant = (...ids: string[]) => {
    for (const id of ids) shared.plant(id, answer)
  }
  return { clock, shared, events, purges, store: purges.store, kindOf, plant }
}

await t.test('a purge that reaches the store is done at once, and nothing is reported', async (t) => {
  const { store, purges, shared, events, kindOf, plant } = setup()
  plant('a', 'b', 'c')
  t.strictSame([await store.purge('a'), shared.stations], [true, ['b', 'c']])
  t.strictSame([await store.purgeAll(), shared.stations], [true, []])
  plant('a')
  t.strictSame([await kindOf('a'), purges.waiting, events], ['answer', 0, []])
})

await t.test('a purge that does not reach the store is done as soon as it can be reached', async (t) => {
  const { store, purges, shared, events, kindOf, plant, clock } = setup()
  plant('a', 'b')
  shared.isUp = false
  t.equal(await store.purge('a'), false)
  await store.purge('a')
  t.strictSame([purges.waiting, events], [1, ['pending']])
  await clock.advance(10_000)
  shared.isUp = true
  t.strictSame([await kindOf('a'), await kindOf('b')], ['unavailable', 'answer'], 'before it is done')
  store.publish('a', { ...answer, version: 'of a call without a lease' }, 60_000)
  await clock.advance(250)
  t.strictSame([shared.stations, await kindOf('a')], [['b'], 'none'])
  t.strictSame([purges.waiting, events], [0, ['pending', 'applied']])
  shared.isUp = false
  await store.purge('b')
  t.strictSame(events, ['pending', 'applied', 'pending'], 'each outage is reported')
})

await t.test('a purge of all that does not reach the store is done later, for all stations', async (t) => {
  const { store, purges, shared, kindOf, plant, clock } = setup()
  plant('a', 'b')
  shared.isUp = false
  await store.purge('a')
  await store.purgeAll()
  await store.purge('a')
  shared.isUp = true
  t.strictSame([purges.waiting, await kindOf('b')], ['all', 'unavailable'])
  await clock.advance(250)
  t.strictSame([shared.stations, purges.waiting], [[], 0])
})

for (const [count, waiting] of [
  [MAX_PENDING, MAX_PENDING],
  [MAX_PENDING + 1, 'all'],
] as const) {
  await t.test(`${count} stations whose purge is kept are ${waiting}`, async (t) => {
    const { store, purges, shared, plant, clock } = setup()
    plant('s0', `s${count - 1}`, 'other')
    shared.isUp = false
    await Promise.all(Array.from({ length: count }, (_, i) => store.purge(`s${i}`)))
    await store.purge('s0')
    t.equal(purges.waiting, waiting)
    shared.isUp = true
    await clock.advance(250)
    t.strictSame([shared.stations, purges.waiting], [waiting === 'all' ? [] : ['other'], 0])
  })
}

await t.test('what was read from the store before a purge is not used after it', async (t) => {
  const { store, shared, plant } = setup()
  plant('a')
  const read = shared.leaseGet.bind(shared)
  const replies: (() => void)[] = []
  shared.leaseGet = async (...request) => {
    const reply = await read(...request)
    await new Promise<void>((resolve) => void replies.push(resolve))
    return reply
  }
  const reading = store.leaseGet('a', '', { token: null, ms: 1_000 })
  await settled()
  const purging = store.purge('a')
  for (const reply of replies) reply()
  t.match(await reading, { kind: 'unavailable' })
  t.equal(await purging, true)
})

await t.test('a purge that comes while an earlier one of the station is sent is sent as well', async (t) => {
  const { store, shared, kindOf, plant, clock } = setup()
  const purge = shared.purge.bind(shared)
  let sent = 0
  shared.purge = async (id) => {
    sent++
    const isDone = sent === 1 && (await purge(id))
    await settled()
    return isDone
  }
  const first = store.purge('a')
  plant('a')
  t.strictSame([await store.purge('a'), await first], [false, true])
  t.equal(await kindOf('a'), 'unavailable')
  shared.purge = purge
  await clock.advance(250)
  t.strictSame(shared.stations, [])
})

await t.test('after a stop a purge is not tried again', async (t) => {
  const { store, purges, shared, plant, clock } = setup()
  plant('a')
  shared.isUp = false
  purges.stop()
  await store.purge('a')
  shared.isUp = true
  await clock.advance(10_000)
  t.strictSame([shared.stations, purges.waiting], [['a'], 1])
})

await t.test('an answer of the archive is not restored while its purge is pending', async (t) => {
  const archive: AnswerArchive = {
    async *recent() {},
    read: async (ids) => ids.map((id) => [id, answer] as const),
  }
  const { store, purges, shared } = setup(archive)
  shared.isUp = false
  await store.purge('a')
  t.strictSame(await purges.archive?.read(['a', 'b']), [['b', answer]])
})
