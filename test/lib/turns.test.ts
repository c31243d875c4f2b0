import t from 'tap'
import { Turns } from '../../src/lib/turns.ts'
import { countTurns } from '../support/turn-count.ts'

/** CPU time of this process, because other processes would count in the time that passes. */
function cpuMs(): number {
  return process.cpuUsage().user / 1_000
}

/** Work that takes so long, as answering a request does. */
function work(ms: number): void {
  const end = cpuMs() + ms
  while (cpuMs() < end);
}

await t.test('10,000 results that come together do not stop the event loop for long', async (t) => {
  const turns = new Turns()
  let settle = (_value: string): void => {}
  const result = new Promise<string>((resolve) => (settle = resolve))
  const received: string[] = []
  const all = Array.from({ length: 10_000 }, async () => {
    received.push(await turns.wait(result))
    work(0.05)
  })
  let longest = 0
  let last = cpuMs()
  let isDone = false
  const watch = () => {
    longest = Math.max(longest, cpuMs() - last)
    last = cpuMs()
    if (!isDone) setImmediate(watch)
  }
  setImmediate(() => {
    last = cpuMs()
    settle('x')
    setImmediate(watch)
  })
  const before = cpuMs()
  await Promise.all(all)
  const total = cpuMs() - before
  isDone = true
  t.equal(received.length, 10_000)
  t.ok(longest < total / 5, `${longest.toFixed(0)} ms of ${total.toFixed(0)} ms in one turn`)
})

await t.test('a single result and a single error are handed on in the same turn', async (t) => {
  const turns = new Turns()
  let hasTurned = false
  setImmediate(() => (hasTurned = true))
  t.equal(await turns.wait(Promise.resolve(1)), 1)
  t.equal(hasTurned, false)
  const failure = new Error('x')
  const caught = await turns.wait(Promise.reject(failure)).catch((error: unknown) => error)
  t.equal(caught, failure)
})

await t.test('of results that each take long, one is handed on in a turn, in their order', async (t) => {
  const turns = new Turns()
  const seen: (readonly [turn: number, number: number])[] = []
  const turn = countTurns(t)
  const results = Array.from({ length: 5 }, async (_, number) => {
    await turns.next()
    seen.push([turn(), number])
    work(30)
  })
  await Promise.all(results)
  t.strictSame(
    seen.map(([, number]) => number),
    [0, 1, 2, 3, 4],
  )
  t.equal(new Set(seen.map(([at]) => at)).size, 5)
  t.equal(turns.waiting, 0)
})

await t.test('what follows a first result waits until other input has been read', async (t) => {
  const turns = new Turns()
  let passed = 0 // phases in which immediate functions run; input is read before each
  setImmediate(() => {
    passed++
    setImmediate(() => passed++)
  })
  const seen: (readonly [name: string, passed: number])[] = []
  const note = async (name: string, result: Promise<void>) => {
    await result
    seen.push([name, passed])
  }
  await note('first', turns.next())
  const next = note('next', turns.next())
  await Promise.resolve() // the next one waits now
  await Promise.all([next, note('second half', turns.continue())])
  t.strictSame(seen, [
    ['first', 0],
    ['second half', 2],
    ['next', 2],
  ])
})

await t.test('a second half waits for another turn, also if nothing else does', async (t) => {
  const turns = new Turns()
  let hasTurned = false
  setImmediate(() => (hasTurned = true))
  await turns.continue()
  t.equal(hasTurned, true)
  t.equal(turns.waiting, 0)
})

await t.test('owners take turns, and the results of each keep their order', async (t) => {
  const turns = new Turns()
  const [one, other, third] = [{}, {}, {}]
  const seen: string[] = []
  const ask = (name: string, owner?: object) =>
    turns.wait(Promise.resolve(), owner).then(() => void seen.push(name))
  const many = Array.from({ length: 6 }, (_, i) => ask(`one ${i}`, one))
  const others = [ask('other 0', other), ask('other 1', other), ask('third', third), ask('nobody')]
  await Promise.all([...many, ...others])
  const order = 'one 0, one 1, other 0, third, nobody, one 2, other 1, one 3, one 4, one 5'
  t.equal(seen.join(', '), order)
  t.equal(turns.waiting, 0)
})
