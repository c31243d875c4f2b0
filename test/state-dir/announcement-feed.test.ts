import t from 'tap'
import { AnnouncementFeed } from '../../src/state-dir/announcement-feed.ts'
import { MAX_KEPT } from '../../src/state-dir/announcement-operations.ts'
import { TestClock } from '../support/clock.ts'
import { localStores } from './local-stores.ts'
import type { Test } from 'tap'

const READ_EVERY_MS = 250

/** Two processes on one store, and what the feed of the first reports. */
function setup(t: Test) {
  const clock = new TestClock()
  const { open, request } = localStores(t)
  const reported: string[] = []
  let isUp = true
  let reads = 0
  const asked: typeof request = async (name, args) => {
    reads++
    return isUp ? request(name, args) : undefined
  }
  const feed = new AnnouncementFeed({ request: asked }, clock)
  t.teardown(() => feed.stop())
  const listen = () =>
    feed.listen({
      stored: (id, version) => void reported.push(`stored ${id} ${version}`),
      purged: (id) => void reported.push(`purged ${id ?? 'all'}`),
    })
  const read = async () => {
    const before = reads
    await clock.advance(READ_EVERY_MS)
    t.equal(reads, before + 1)
    await request('announcedSince', [null]) // after the read
  }
  const own = (name: 'purge' | 'purgeAll', id: string[] = []) => request(name, [...id, feed.name])
  return { feed, listen, read, reported, own, request, other: open(), setUp: (up: boolean) => (isUp = up) }
}

await t.test('stored answers and purges by another process are reported once', async (t) => {
  const { listen, read, reported, own, request, other } = setup(t)
  await other.answers.purge('before the start')
  listen()
  await request('announcedSince', [null])
  await other.answers.purge('a')
  await own('purge', ['b'])
  await other.answers.purgeAll()
  await own('purgeAll')
  await read()
  await read()
  t.strictSame(reported, ['purged a', 'purged all'])
})

await t.test('an announcement during an outage of the store is reported after it', async (t) => {
  const { listen, read, reported, request, other, setUp } = setup(t)
  listen()
  await request('announcedSince', [null])
  await read()
  setUp(false)
  await other.answers.purge('a')
  await read()
  t.strictSame(reported, [])
  setUp(true)
  await read()
  t.strictSame(reported, ['purged a'])
})

await t.test(
  'a process that misses announcements drops everything, one that misses none does not',
  async (t) => {
    const { listen, read, reported, request, other } = setup(t)
    listen()
    await request('announcedSince', [null])
    const purges = (count: number) =>
      Promise.all(Array.from({ length: count }, () => other.answers.purge('a')))
    await purges(MAX_KEPT)
    await read()
    t.strictSame([reported.length, reported.includes('purged all')], [MAX_KEPT, false])
    reported.length = 0
    await purges(MAX_KEPT + 1)
    await read()
    t.strictSame([reported.length, reported[0]], [MAX_KEPT + 1, 'purged all'])
  },
)

await t.test('after a stop nothing is read', async (t) => {
  const { feed, listen, reported, request, other } = setup(t)
  listen()
  await request('announcedSince', [null])
  feed.stop()
  await other.answers.purge('a')
  t.strictSame(reported, [])
})
