import t from 'tap'
import { createEventBus } from '../src/app-event-bus.ts'
import { broadcast } from './support/broadcast.ts'

await t.test('an event bus passes an event with its arguments to every listener, in order', async (t) => {
  const calls: unknown[] = []
  const observer = broadcast([
    { lookedUp: (...details) => calls.push(['first', ...details]) },
    { lookedUp: (...details) => calls.push(['second', ...details]) },
  ])
  observer.lookedUp('hit', 3)
  t.strictSame(calls, [
    ['first', 'hit', 3],
    ['second', 'hit', 3],
  ])
})

await t.test('an event bus skips listeners without a method for the event', async (t) => {
  const observer = broadcast([{ evicted: () => t.fail('another event') }, {}])
  t.doesNotThrow(() => observer.upstreamRecovered())
})

await t.test(
  'an event bus reaches a listener that subscribed after its observer was given away',
  async (t) => {
    const { observer, subscribe } = createEventBus()
    const { evicted } = observer
    let count = 0
    evicted()
    subscribe({ evicted: () => count++ })
    evicted()
    t.equal(count, 1)
  },
)

await t.test('an event bus calls a listener as a method of its object', async (t) => {
  class Counter {
    evictions = 0
    evicted(): void {
      this.evictions++
    }
  }
  const counter = new Counter()
  broadcast([counter]).evicted()
  t.equal(counter.evictions, 1)
})
