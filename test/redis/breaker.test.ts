import t from 'tap'
import { RedisBreaker } from '../../src/redis/breaker.ts'
import { settled, TestClock } from '../support/clock.ts'

function setup(options: { commandTimeoutMs?: number } = {}) {
  const clock = new TestClock()
  const startedAt = clock.now()
  const redis = { works: false, reconnects: 0 }
  const probes: number[] = []
  const events: boolean[] = []
  const rejected: string[] = []
  const breaker = new RedisBreaker({
    probe: async () => {
      probes.push(clock.now() - startedAt)
      if (!redis.works) throw new Error('no')
    },
    reconnect: () => {
      redis.reconnects++
    },
    clock,
    observer: {
      sharedCacheChanged: (up) => void events.push(up),
      sharedCommandRejected: (reason) => void rejected.push(reason),
    },
    ...options,
  })
  const fail = () => breaker.run(() => Promise.reject(new Error('no')))
  /** A closed circuit, with no probe so far. */
  const closed = async () => {
    redis.works = true
    await breaker.probe()
    probes.length = 0
    events.length = 0
  }
  return { clock, redis, probes, events, rejected, breaker, fail, closed }
}

await t.test('an open circuit to Redis probes after 1, 2, 4, 5, 5 s and is reported once', async (t) => {
  const { breaker, clock, probes, events, redis } = setup()
  await breaker.probe()
  await clock.advance(20_000)
  t.strictSame(probes, [0, 1_000, 3_000, 7_000, 12_000, 17_000])
  t.equal(redis.reconnects, probes.length, 'over a new connection each')
  t.strictSame(events, [false])
})

await t.test('an open circuit to Redis sends no commands', async (t) => {
  const { breaker } = setup()
  await breaker.probe()
  let sent = false
  const reply = await breaker.run(async () => {
    sent = true
  })
  t.equal(reply, undefined)
  t.notOk(sent)
})

await t.test('a closed circuit to Redis passes replies, and opens at the first failure', async (t) => {
  const { breaker, closed, fail, events } = setup()
  await closed()
  t.equal(await breaker.run(async () => 'reply'), 'reply')
  t.equal(await fail(), undefined)
  t.equal(breaker.isUp, false)
  t.strictSame(events, [false])
})

await t.test('a command has 100 ms, or the time that the breaker is given', async (t) => {
  const outcomes = []
  for (const [options, timeoutMs] of [
    [{}, 100],
    [{ commandTimeoutMs: 400 }, 400],
  ] as const) {
    const { breaker, closed, clock } = setup(options)
    await closed()
    const lost = breaker.run(() => new Promise(() => {}))
    await clock.advance(timeoutMs - 1)
    const before = breaker.isUp
    await clock.advance(1)
    outcomes.push([before, await lost, breaker.isUp])
  }
  t.strictSame(outcomes, [
    [true, undefined, false],
    [true, undefined, false],
  ])
})

await t.test('a command may have a longer time of its own', async (t) => {
  const { breaker, closed, clock } = setup()
  await closed()
  const reply = breaker.run(() => new Promise((resolve) => clock.after(900, () => resolve('late'))), 1_000)
  await clock.advance(900)
  t.strictSame([await reply, breaker.isUp], ['late', true])
  const lost = breaker.run(() => new Promise(() => {}), 1_000)
  await clock.advance(999)
  t.equal(breaker.isUp, true)
  await clock.advance(1)
  t.strictSame([await lost, breaker.isUp], [undefined, false])
})

await t.test('a circuit to Redis that opens again soon stays open for longer', async (t) => {
  const { closed, fail, clock, probes, events } = setup()
  await closed()
  await fail()
  await clock.advance(1_000)
  await fail()
  await clock.advance(1_999)
  t.equal(probes.length, 1)
  await clock.advance(1)
  t.equal(probes.length, 2)
  t.strictSame(events, [false, true, false, true])
})

await t.test('a circuit to Redis that was closed for 5 s opens for 1 s again', async (t) => {
  const { closed, fail, clock, probes } = setup()
  await closed()
  await fail()
  await clock.advance(1_000)
  await clock.advance(5_000)
  await fail()
  await clock.advance(1_000)
  t.equal(probes.length, 2)
})

await t.test('a command without a reply within 100 ms fails and opens the circuit to Redis', async (t) => {
  const { breaker, closed, clock } = setup()
  await closed()
  const late = breaker.run(() => new Promise((resolve) => void clock.after(101, () => resolve('late'))))
  await clock.advance(100)
  await settled()
  t.equal(await late, undefined)
  t.equal(breaker.isUp, false)
})

await t.test('a stopped breaker has no timers and sends nothing', async (t) => {
  const { breaker, closed, clock, probes } = setup()
  await closed()
  breaker.stop()
  breaker.reportFailure(new Error('the connection was closed'))
  await breaker.probe()
  t.equal(clock.pending, 0)
  t.equal(probes.length, 0)
  t.equal(await breaker.run(async () => 'reply'), undefined)
})

await t.test('a command that Redis rejects for its arguments opens no circuit', async (t) => {
  const { breaker, events, rejected, clock, closed } = setup()
  await closed()
  const reject = (message: string) =>
    breaker.run(() => Promise.reject(Object.assign(new Error(message), { name: 'ReplyError' })))
  t.equal(await reject("ERR invalid expire time in 'set' command"), undefined)
  await reject('WRONGTYPE Operation against a key holding the wrong kind of value')
  t.ok(breaker.isUp)
  t.strictSame(events, [])
  t.strictSame(rejected, ['the server rejected a command (ERR)'], 'once a minute')
  await clock.advance(60_000)
  await reject('WRONGTYPE x')
  t.equal(rejected.length, 2)
  await reject('OOM command not allowed when used memory')
  t.notOk(breaker.isUp)
})
