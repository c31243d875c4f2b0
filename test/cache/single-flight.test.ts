import t from 'tap'
import type { InFlightCall } from '../../src/cache/single-flight.ts'
import { SingleFlight } from '../../src/cache/single-flight.ts'
import { settled, TestClock } from '../support/clock.ts'
import { repeat } from './setup.ts'

const DEADLINE_MS = 4_000

/** Calls that end on command. Each has a number, and `result <number>` is its result. */
function setupCalls() {
  const clock = new TestClock()
  const singleFlight = new SingleFlight<string>({
    deadlineMs: DEADLINE_MS,
    after: clock.after,
    timeoutError: () => new Error('deadline'),
  })
  const calls: { readonly succeed: () => void; readonly fail: (error: Error) => void }[] = []
  const start = (key = 'a'): InFlightCall<string> =>
    singleFlight.start(
      key,
      () =>
        new Promise((resolve, reject) => {
          const result = `result ${calls.length + 1}`
          calls.push({ succeed: () => resolve(result), fail: reject })
        }),
    )
  /** Waits for the in-flight call, or for a new one. */
  const get = (key = 'a', signal?: AbortSignal) =>
    singleFlight.wait(singleFlight.inFlight(key) ?? start(key), signal)
  const call = (number: number) => calls[number - 1] as (typeof calls)[number]
  return { clock, singleFlight, calls, call, start, get }
}

/** The value of a promise, or the message of its error. */
function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch((error: unknown) => (error as Error).message)
}

/** The same by now, or `waits`. */
async function outcomeByNow(promise: Promise<unknown>): Promise<unknown> {
  let outcome: unknown = 'waits'
  const watch = async () => {
    outcome = await outcomeOf(promise)
  }
  void watch()
  await settled()
  return outcome
}

const disconnected = new Error('disconnected')

const ENDS = ['succeed', 'fail'] as const
const endCall = (call: ReturnType<ReturnType<typeof setupCalls>['call']>, end: (typeof ENDS)[number]) => {
  if (end === 'succeed') call.succeed()
  else call.fail(new Error('failed'))
}

await t.test('one call per key is in flight', async (t) => {
  await t.test('a hundred waiters share one call and its result', async (t) => {
    const { singleFlight, calls, call, get } = setupCalls()
    const results = Array.from({ length: 100 }, () => get())
    t.equal(calls.length, 1)
    t.equal(singleFlight.inFlight('a')?.waiters, 100)
    call(1).succeed()
    t.strictSame(await Promise.all(results), repeat(100, 'result 1'))
  })

  await t.test('keys share nothing, whatever their characters', async (t) => {
    const { singleFlight, calls, get, call } = setupCalls()
    const keys = ['a', 'A', 'a|b', 'a:b', 'a b', '__proto__', 'constructor', '', 'é', 'e\u0301']
    const results = keys.map((key) => get(key))
    t.equal(calls.length, keys.length)
    t.equal(singleFlight.size, keys.length)
    keys.forEach((_key, i) => call(i + 1).succeed())
    t.strictSame(
      await Promise.all(results),
      keys.map((_key, i) => `result ${i + 1}`),
    )
  })

  await t.test('the end of a call frees its key', async (t) => {
    const { singleFlight, call, get } = setupCalls()
    const seen = []
    for (const number of [1, 2, 3]) {
      const result = get()
      call(number).succeed()
      seen.push([await result, singleFlight.size])
    }
    t.strictSame(
      seen,
      [1, 2, 3].map((number) => [`result ${number}`, 0]),
    )
  })

  await t.test('an error is shared by all waiters, and the next get starts a new call', async (t) => {
    const { calls, call, get } = setupCalls()
    const results = [outcomeOf(get()), outcomeOf(get()), outcomeOf(get())]
    call(1).fail(new Error('failed'))
    t.strictSame(await Promise.all(results), repeat(3, 'failed'))
    const next = get()
    t.equal(calls.length, 2)
    call(2).succeed()
    t.equal(await next, 'result 2')
  })

  await t.test('a call that throws instead of rejecting has failed', async (t) => {
    const { clock, singleFlight } = setupCalls()
    const thrown = singleFlight.start('a', () => {
      throw new Error('thrown')
    })
    await t.rejects(singleFlight.wait(thrown), { message: 'thrown' })
    t.equal(singleFlight.size, 0)
    t.equal(clock.pending, 0)
  })
})

await t.test('a waiter that disconnects affects no other', async (t) => {
  await t.test('the others get the result if the first waiter disconnects', async (t) => {
    const { calls, call, get } = setupCalls()
    const client = new AbortController()
    const first = get('a', client.signal)
    const others = [get(), get()]
    client.abort(disconnected)
    await t.rejects(first, disconnected)
    call(1).succeed()
    t.strictSame(await Promise.all(others), repeat(2, 'result 1'))
    t.equal(calls.length, 1)
  })

  await t.test('the waiter is rejected before the call ends, and no longer counted', async (t) => {
    const { singleFlight, get } = setupCalls()
    void get()
    const client = new AbortController()
    const second = get('a', client.signal)
    t.equal(singleFlight.inFlight('a')?.waiters, 2)
    client.abort(disconnected)
    t.equal(await outcomeByNow(second), 'disconnected')
    t.equal(singleFlight.inFlight('a')?.waiters, 1)
  })

  await t.test('a signal that has aborted before is rejected as well', async (t) => {
    const { singleFlight, get } = setupCalls()
    t.equal(await outcomeOf(get('a', AbortSignal.abort(disconnected))), 'disconnected')
    t.equal(singleFlight.inFlight('a')?.waiters, 0)
  })

  await t.test('a call without waiters goes on, and a new waiter joins it', async (t) => {
    const { singleFlight, calls, call, get } = setupCalls()
    const client = new AbortController()
    const results = [get('a', client.signal), get('a', client.signal), get('a', client.signal)]
    const inFlight = singleFlight.inFlight('a')
    client.abort(disconnected)
    t.strictSame(await Promise.all(results.map(outcomeOf)), repeat(3, 'disconnected'))
    t.equal(singleFlight.inFlight('a'), inFlight)
    t.equal(inFlight?.waiters, 0)
    const again = get()
    t.equal(calls.length, 1)
    call(1).succeed()
    t.equal(await again, 'result 1')
  })

  await t.test('the listener is removed from the signal when the call ends', async (t) => {
    const { singleFlight, call, get, start } = setupCalls()
    const client = new AbortController()
    let listeners = 0
    const { signal } = client
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
    signal.addEventListener = (...details: Parameters<typeof add>) => {
      listeners++
      add(...details)
    }
    signal.removeEventListener = (...details: Parameters<typeof remove>) => {
      listeners--
      remove(...details)
    }
    const result = get('a', signal)
    t.equal(listeners, 1)
    call(1).succeed()
    t.equal(await result, 'result 1')
    t.equal(listeners, 0, 'a connection may live for hours')
    start()
    client.abort(disconnected)
    t.equal(await result, 'result 1')
    t.equal(singleFlight.size, 1)
  })
})

await t.test('a call leaves the map before its waiters are notified', async (t) => {
  for (const end of ENDS) {
    await t.test(`the first waiter to react to a call that ${end}s finds none in flight`, async (t) => {
      const { singleFlight, calls, call, get } = setupCalls()
      const seen: unknown[] = []
      const react = () => {
        seen.push(singleFlight.inFlight('a'))
        void get().catch(() => {})
      }
      const result = get()
      const first = singleFlight.inFlight('a')?.result.then(react, react)
      const second = result.then(react, react)
      endCall(call(1), end)
      await Promise.all([first, second])
      t.equal(seen[0], undefined)
      t.equal(calls.length, 2, 'it starts a call, and the second waiter joins that')
      t.not(seen[1], undefined)
    })
  }

  await t.test('a call past its deadline does not remove the next one of its key', async (t) => {
    const { clock, singleFlight, call, get, start } = setupCalls()
    const abandoned = outcomeOf(get())
    await clock.advance(DEADLINE_MS)
    t.equal(await abandoned, 'deadline')
    const present = start()
    call(1).succeed()
    await settled()
    t.equal(singleFlight.inFlight('a'), present)
    call(2).succeed()
    t.equal(await present.result, 'result 2')
    t.equal(singleFlight.size, 0)
  })

  await t.test('a call removes only itself, even if another was started for its key', async (t) => {
    const { singleFlight, call, start } = setupCalls()
    const [first, second] = [start(), start()]
    call(1).succeed()
    t.equal(await first.result, 'result 1')
    t.equal(singleFlight.inFlight('a'), second)
  })
})

await t.test('a call ends at its deadline', async (t) => {
  await t.test('all waiters get the timeout error, and not a millisecond before', async (t) => {
    const { clock, singleFlight, calls, call, get } = setupCalls()
    const results = [outcomeOf(get()), outcomeOf(get())]
    await clock.advance(DEADLINE_MS - 1)
    const late = outcomeOf(get())
    t.equal(calls.length, 1)
    t.equal(await outcomeByNow(late), 'waits')
    await clock.advance(1)
    t.strictSame(await Promise.all([...results, late]), repeat(3, 'deadline'))
    t.equal(singleFlight.size, 0)
    const next = get()
    call(2).succeed()
    t.equal(await next, 'result 2', 'the next get starts a new call')
  })

  await t.test('a call without waiters has a deadline too', async (t) => {
    const { clock, singleFlight, get } = setupCalls()
    t.equal(await outcomeOf(get('a', AbortSignal.abort(disconnected))), 'disconnected')
    await clock.advance(DEADLINE_MS)
    t.equal(singleFlight.size, 0)
  })

  for (const end of ENDS) {
    await t.test(`a call that ${end}s in time leaves no timer`, async (t) => {
      const { clock, call, get } = setupCalls()
      const result = outcomeOf(get())
      t.equal(clock.pending, 1)
      endCall(call(1), end)
      await result
      t.equal(clock.pending, 0)
    })

    await t.test(`a call that ${end}s after its deadline changes no result`, async (t) => {
      const { clock, call, get } = setupCalls()
      const first = outcomeOf(get())
      await clock.advance(DEADLINE_MS)
      const second = get()
      endCall(call(1), end)
      t.equal(await first, 'deadline')
      t.equal(await outcomeByNow(second), 'waits', 'the second waits for its own call')
      call(2).succeed()
      t.equal(await second, 'result 2')
    })
  }
})

await t.test('onFailure reports a failed call', async (t) => {
  for (const end of ['call', 'deadline', 'throw'] as const) {
    await t.test(
      `an error by ${end} is reported once, before the key is free and before the waiters get it`,
      async (t) => {
        const { clock, singleFlight } = setupCalls()
        const order: string[] = []
        const orderWhenFree: string[] = []
        let fail!: (error: Error) => void
        const run = () => {
          if (end === 'throw') throw new Error('throw')
          return new Promise<string>((_resolve, reject) => {
            fail = reject
          })
        }
        const call = singleFlight.start('a', run, (error) => order.push((error as Error).message))
        const waiting = singleFlight.wait(call).catch(() => order.push('waiter'))
        if (end === 'call') fail(new Error('call'))
        for (let turn = 0; turn < 20; turn++) {
          await Promise.resolve()
          if (singleFlight.size === 0) orderWhenFree.push(order[0] as string)
        }
        await clock.advance(DEADLINE_MS)
        await waiting
        if (end === 'deadline') fail(new Error('late'))
        await settled()
        t.strictSame(order, [end, 'waiter'])
        t.strictSame(
          orderWhenFree.filter((first) => first !== end),
          [],
        )
      },
    )
  }

  await t.test('a call that succeeds is not reported', async (t) => {
    const { clock, singleFlight } = setupCalls()
    const errors: unknown[] = []
    singleFlight.start(
      'a',
      () => Promise.resolve('result'),
      (error) => errors.push(error),
    )
    await clock.advance(DEADLINE_MS)
    t.strictSame(errors, [])
  })
})

await t.test('a failed call without waiters is not an unhandled rejection', async (t) => {
  const unhandled: unknown[] = []
  const record = (reason: unknown) => void unhandled.push(reason)
  process.on('unhandledRejection', record)
  t.teardown(() => process.off('unhandledRejection', record))

  const { clock, call, get, start, singleFlight } = setupCalls()
  start('failed')
  call(1).fail(new Error('failed'))
  start('deadline')
  singleFlight.start('thrown', () => {
    throw new Error('thrown')
  })
  const client = new AbortController()
  const result = outcomeOf(get('disconnected', client.signal))
  client.abort(disconnected)
  t.equal(await result, 'disconnected')
  call(3).fail(new Error('after all waiters disconnected'))
  await clock.advance(DEADLINE_MS)
  call(2).fail(new Error('after the deadline'))
  await settled()
  await settled()
  t.strictSame(unhandled, [])
  t.equal(singleFlight.size, 0)
})
