import t from 'tap'
import { RefreshQueue } from '../../src/watch/refresh-queue.ts'

const client = (id: string) => ({ id, isBackground: false })
const background = (id: string) => ({ id, isBackground: true })

function setupQueue() {
  const queue = new RefreshQueue<ReturnType<typeof client>>()
  const stations = [
    background('due'),
    background('cold'),
    client('due of a client'),
    client('cold of a client'),
  ]
  for (const station of stations) queue.add(station, station.id.startsWith('cold'))
  const takeAll = (coldOnly = false) => stations.map(() => queue.take(coldOnly)?.id)
  return { queue, stations, takeAll }
}

await t.test('stations of clients come first, and of these the cold ones', (t) => {
  t.strictSame(setupQueue().takeAll(), ['cold of a client', 'due of a client', 'cold', 'due'])
  t.end()
})

await t.test('while only cold stations are taken the others stay', (t) => {
  const { queue, takeAll } = setupQueue()
  t.strictSame(takeAll(true), ['cold of a client', 'cold', undefined, undefined])
  t.equal(queue.hasDue, true)
  t.strictSame(
    queue.takeDue().map(({ id }) => id),
    ['due of a client', 'due'],
  )
  t.strictSame([queue.hasDue, queue.take(false)], [false, undefined])
  t.end()
})

await t.test('a station can be found and removed', (t) => {
  const { queue, stations } = setupQueue()
  t.strictSame(
    stations.map((station) => queue.isCold(station)),
    [false, true, false, true],
  )
  t.strictSame(
    queue.cold.map(({ id }) => id),
    ['cold of a client', 'cold'],
  )
  t.strictSame(
    stations.map((station) => [queue.delete(station), queue.delete(station)]),
    stations.map(() => [true, false]),
  )
  t.equal(queue.take(false), undefined)
  t.end()
})
