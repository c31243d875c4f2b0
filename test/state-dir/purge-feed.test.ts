import t from 'tap'
import { PurgeFeed } from '../../src/state-dir/purge-feed.ts'
import type { PurgeMark } from '../../src/state-dir/purge-operations.ts'
import { TestClock } from '../support/clock.ts'

/** A feed over a store whose replies are scripted, and what it reported. */
function setup() {
  const clock = new TestClock()
  const store = { count: 0, marks: [] as PurgeMark[], isUp: true }
  const requests: unknown[][] = []
  const reported: (string | null)[] = []
  const feed = new PurgeFeed(
    {
      request: async (_name, args) => {
        const [known, sinceMs] = args as [number, number]
        requests.push([known, clock.wall() - sinceMs])
        if (!store.isUp) return undefined
        if (known === store.count) return null
        return { count: store.count, marks: store.marks.filter(([, at]) => at >= sinceMs) }
      },
    },
    clock,
  )
  feed.start((id) => void reported.push(id))
  const purge = (id: string | null) => {
    store.count++
    store.marks.push([id, clock.wall()])
    return clock.wall()
  }
  return { clock, store, requests, reported, feed, purge }
}

await t.test('a purge by another process is reported once, and one by this process is not', async (t) => {
  const { clock, reported, feed, purge } = setup()
  await clock.advance(1_000)
  purge('a')
  feed.noteOwn('b', purge('b'))
  await clock.advance(500)
  t.strictSame(reported, ['a'])
  purge(null)
  await clock.advance(2_000)
  t.strictSame(reported, ['a', null])
  await clock.advance(10)
  purge('a')
  await clock.advance(500)
  t.strictSame(reported, ['a', null, 'a'])
})

await t.test('a purge before the start is not reported', async (t) => {
  const { clock, store, reported } = setup()
  store.marks.push(['old', clock.wall() - 60_000])
  store.count = 1
  await clock.advance(1_000)
  t.strictSame(reported, [])
})

await t.test('a purge during an outage of the store is reported after it', async (t) => {
  const { clock, store, reported, purge } = setup()
  await clock.advance(1_000)
  store.isUp = false
  purge('a')
  await clock.advance(60_000)
  store.isUp = true
  await clock.advance(500)
  t.strictSame(reported, ['a'])
})

await t.test('after the clock went back purges are reported', async (t) => {
  const { clock, reported, purge } = setup()
  purge('a')
  await clock.advance(1_000)
  clock.setWall(clock.wall() - 3_600_000)
  purge('b')
  await clock.advance(500)
  t.strictSame(reported, ['a', 'b'])
})

await t.test('after a stop nothing is asked', async (t) => {
  const { clock, requests, feed } = setup()
  await clock.advance(500)
  feed.stop()
  await clock.advance(5_000)
  t.equal(requests.length, 1)
})
