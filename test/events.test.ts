import t from 'tap'
import type { Observer } from '../src/events.ts'
import { broadcast } from '../src/events.ts'

await t.test('broadcast passes an event with its arguments to every listener, in order', async (t) => {
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

await t.test('broadcast skips listeners without a method for the event', async (t) => {
  const observer = broadcast([{ evicted: () => t.fail('another event') }, {}])
  t.doesNotThrow(() => observer.upstreamRecovered())
})

await t.test('broadcast reaches a listener that was added later', async (t) => {
  const listeners: Partial<Observer>[] = []
  const observer = broadcast(listeners)
  let count = 0
  listeners.push({ evicted: () => count++ })
  observer.evicted()
  t.equal(count, 1)
})

await t.test('broadcast calls a listener as a method of its object', async (t) => {
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
