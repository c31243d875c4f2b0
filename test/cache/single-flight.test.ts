import t from 'tap'
import type { Flight } from '../../src/cache/single-flight.ts'
import { SingleFlight } from '../../src/cache/single-flight.ts'
import { settled, TestClock } from '../support/clock.ts'

const DEADLINE_MS = 4_000

/** Flights whose calls end on command; each call has a number, and so do their results. */
function hangar() {
  const clock = new TestClock()
  const flights = new SingleFlight<string>({
    deadlineMs: DEADLINE_MS,
    after: clock.after,
    timeoutError: () => new Error('deadline'),
  })
  const calls: { readonly land: () => void; readonly crash: (error: Error) => void }[] = []
  const start = (key = 'a'): Flight<string> =>
    flights.start(
      key,
      () =>
        new Promise((resolve, reject) => {
          const result = `result ${calls.length + 1}`
          calls.push({ land: () => resolve(result), crash: reject })
        }),
    )
  /** Joins as a caller does: what is under way, else a flight of its own. */
  const ask = (key = 'a', signal?: AbortSignal) => flights.wait(flights.inFlight(key) ?? start(key), signal)
  const call = (number: number) => calls[number - 1] as (typeof calls)[number]
  return { clock, flights, calls, call, start, ask }
}

/** How a promise ends: its value, or its error's message. */
function endOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch((error: unknown) => (error as Error).message)
}

/** How a promise has ended by now, if it has. */
async function endByNow(promise: Promise<unknown>): Promise<unknown> {
  let end: unknown = 'waits'
  const watch = async () => {
    end = await endOf(promise)
  }
  void watch()
  await settled()
  return end
}

const left = new Error('left')

await t.test('one flight for a key', async (t) => {
  await t.test('a hundred who ask have one call and its result', async (t) => {
    const { flights, calls, call, ask } = hangar()
    const asked = Array.from({ length: 100 }, () => ask())
    t.equal(calls.length, 1)
    t.equal(flights.inFlight('a')?.waiters, 100)
    call(1).land()
    t.strictSame(new Set(await Promise.all(asked)), new Set(['result 1']))
  })

  await t.test('keys share nothing, whatever is in them', async (t) => {
    const { flights, calls, ask, call } = hangar()
    const keys = ['a', 'A', 'a|b', 'a:b', 'a b', '__proto__', 'constructor', '', 'é', 'e\u0301']
    const asked = keys.map((key) => ask(key))
    t.equal(calls.length, keys.length)
    t.equal(flights.size, keys.length)
    keys.forEach((_key, i) => call(i + 1).land())
    t.strictSame(
      await Promise.all(asked),
      keys.map((_key, i) => `result ${i + 1}`),
    )
  })

  await t.test('its end makes way for the next', async (t) => {
    const { flights, calls, call, ask } = hangar()
    for (const number of [1, 2, 3]) {
      const asked = ask()
      call(number).land()
      t.equal(await asked, `result ${number}`)
      t.equal(flights.size, 0)
    }
    t.equal(calls.length, 3)
  })

  await t.test('an error is shared by all who wait, and the next asks anew', async (t) => {
    const { calls, call, ask } = hangar()
    const asked = [endOf(ask()), endOf(ask()), endOf(ask())]
    call(1).crash(new Error('crash'))
    t.strictSame(await Promise.all(asked), ['crash', 'crash', 'crash'])
    const next = ask()
    t.equal(calls.length, 2)
    call(2).land()
    t.equal(await next, 'result 2')
  })
})

await t.test('leaving touches nobody else', async (t) => {
  await t.test('the one who began it leaves: the others have the result', async (t) => {
    const { calls, call, ask } = hangar()
    const leaving = new AbortController()
    const first = ask('a', leaving.signal)
    const others = [ask(), ask()]
    leaving.abort(left)
    await t.rejects(first, left)
    call(1).land()
    t.strictSame(await Promise.all(others), ['result 1', 'result 1'])
    t.equal(calls.length, 1)
  })

  await t.test('who leaves hears so at once, and is counted no longer', async (t) => {
    const { flights, ask } = hangar()
    void ask()
    const leaving = new AbortController()
    const follower = ask('a', leaving.signal)
    t.equal(flights.inFlight('a')?.waiters, 2)
    leaving.abort(left)
    t.equal(await endByNow(follower), 'left', 'without the flight having ended')
    t.equal(flights.inFlight('a')?.waiters, 1)
  })

  await t.test('who had left before asking hears so as well', async (t) => {
    const { flights, ask } = hangar()
    t.equal(await endOf(ask('a', AbortSignal.abort(left))), 'left')
    t.equal(flights.inFlight('a')?.waiters, 0)
  })

  await t.test('all leave: the flight goes on, and who comes back finds it', async (t) => {
    const { flights, calls, call, ask } = hangar()
    const leaving = new AbortController()
    const asked = [ask('a', leaving.signal), ask('a', leaving.signal), ask('a', leaving.signal)]
    const flight = flights.inFlight('a')
    leaving.abort(left)
    t.strictSame(await Promise.all(asked.map(endOf)), ['left', 'left', 'left'])
    t.equal(flights.inFlight('a'), flight)
    t.equal(flight?.waiters, 0)
    const again = ask()
    t.equal(calls.length, 1)
    call(1).land()
    t.equal(await again, 'result 1')
  })

  await t.test('leaving after the end changes nothing and listens no longer', async (t) => {
    const { flights, call, ask, start } = hangar()
    const leaving = new AbortController()
    let listening = 0
    const { signal } = leaving
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
    signal.addEventListener = (...details: Parameters<typeof add>) => {
      listening++
      add(...details)
    }
    signal.removeEventListener = (...details: Parameters<typeof remove>) => {
      listening--
      remove(...details)
    }
    const asked = ask('a', signal)
    t.equal(listening, 1)
    call(1).land()
    t.equal(await asked, 'result 1')
    t.equal(listening, 0, 'a connection may live for hours')
    start()
    leaving.abort(left)
    t.equal(await asked, 'result 1')
    t.equal(flights.size, 1)
  })
})

await t.test('the way out of the map', async (t) => {
  await t.test('a flight is gone before anyone who waits hears of its result', async (t) => {
    for (const end of ['land', 'crash'] as const) {
      const { flights, calls, call, ask } = hangar()
      const seen: unknown[] = []
      const look = () => {
        seen.push(flights.inFlight('a'))
        void ask().catch(() => {})
      }
      const flight = ask()
      const first = flights.inFlight('a')?.result.then(look, look)
      const second = flight.then(look, look)
      if (end === 'land') call(1).land()
      else call(1).crash(new Error('crash'))
      await Promise.all([first, second])
      t.equal(seen[0], undefined, `${end}: the first to hear finds no flight`)
      t.equal(calls.length, 2, `${end}: it starts one, and the second to hear joins that`)
      t.not(seen[1], undefined)
    }
  })

  await t.test('it removes only itself', async (t) => {
    const { clock, flights, call, ask, start } = hangar()
    const abandoned = endOf(ask())
    await clock.advance(DEADLINE_MS)
    t.equal(await abandoned, 'deadline')
    const present = start()
    call(1).land()
    await settled()
    t.equal(flights.inFlight('a'), present, 'the late end of the first leaves the second in the air')
    call(2).land()
    t.equal(await present.result, 'result 2')
    t.equal(flights.size, 0)
  })
})

await t.test('the end of a flight leaves another of its key alone, however that came to be', async (t) => {
  const { flights, call, start } = hangar()
  const [first, second] = [start(), start()]
  call(1).land()
  t.equal(await first.result, 'result 1')
  t.equal(flights.inFlight('a'), second)
})

await t.test('the deadline', async (t) => {
  await t.test('ends a flight that stalls for all who wait, not a millisecond before', async (t) => {
    const { clock, flights, calls, call, ask } = hangar()
    const asked = [endOf(ask()), endOf(ask())]
    await clock.advance(DEADLINE_MS - 1)
    const late = endOf(ask())
    t.equal(calls.length, 1)
    t.equal(await endByNow(late), 'waits')
    await clock.advance(1)
    t.strictSame(await Promise.all([...asked, late]), ['deadline', 'deadline', 'deadline'])
    t.equal(flights.size, 0)
    const next = ask()
    call(2).land()
    t.equal(await next, 'result 2', 'the next starts anew')
  })

  await t.test('is called off by the end: no timer is left', async (t) => {
    for (const end of ['land', 'crash'] as const) {
      const { clock, call, ask } = hangar()
      const asked = endOf(ask())
      t.equal(clock.pending, 1)
      if (end === 'land') call(1).land()
      else call(1).crash(new Error('crash'))
      await asked
      t.equal(clock.pending, 0, end)
    }
  })

  await t.test('holds for a flight that everybody left, too', async (t) => {
    const { clock, flights, ask } = hangar()
    t.equal(await endOf(ask('a', AbortSignal.abort(left))), 'left')
    await clock.advance(DEADLINE_MS)
    t.equal(flights.size, 0)
  })

  await t.test('what an abandoned call brings later changes no result', async (t) => {
    for (const end of ['land', 'crash'] as const) {
      const { clock, call, ask } = hangar()
      const first = endOf(ask())
      await clock.advance(DEADLINE_MS)
      const second = ask()
      if (end === 'land') call(1).land()
      else call(1).crash(new Error('late crash'))
      t.equal(await first, 'deadline')
      t.equal(await endByNow(second), 'waits', `${end}: the second waits for its own call`)
      call(2).land()
      t.equal(await second, 'result 2')
    }
  })
})

await t.test('who must know of a failure', async (t) => {
  await t.test('hears of it once, before the key is free and before all who wait', async (t) => {
    for (const end of ['call', 'deadline', 'throw'] as const) {
      const { clock, flights } = hangar()
      const heard: string[] = []
      let crash!: (error: Error) => void
      const call = () => {
        if (end === 'throw') throw new Error('throw')
        return new Promise<string>((_resolve, reject) => {
          crash = reject
        })
      }
      const flight = flights.start('a', call, (error) => heard.push((error as Error).message))
      const waiting = flights.wait(flight).catch(() => heard.push('one who waits'))
      if (end === 'call') crash(new Error('call'))
      for (let turn = 0; turn < 20; turn++) {
        await Promise.resolve()
        if (flights.size === 0) t.equal(heard[0], end, 'the key is not free before')
      }
      await clock.advance(DEADLINE_MS)
      await waiting
      if (end === 'deadline') crash(new Error('late'))
      await settled()
      t.strictSame(heard, [end, 'one who waits'])
    }
  })

  await t.test('hears nothing of a success', async (t) => {
    const { clock, flights } = hangar()
    const heard: unknown[] = []
    flights.start(
      'a',
      () => Promise.resolve('result'),
      (error) => heard.push(error),
    )
    await clock.advance(DEADLINE_MS)
    t.strictSame(heard, [])
  })
})

await t.test('a call that throws instead of rejecting is a flight that failed', async (t) => {
  const { clock, flights } = hangar()
  const thrown = flights.start('a', () => {
    throw new Error('thrown')
  })
  await t.rejects(flights.wait(thrown), { message: 'thrown' })
  t.equal(flights.size, 0)
  t.equal(clock.pending, 0)
})

await t.test('a failure that nobody waits for is no unhandled rejection', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))

  const { clock, call, ask, start, flights } = hangar()
  start('crash')
  call(1).crash(new Error('crash'))
  start('deadline')
  flights.start('thrown', () => {
    throw new Error('thrown')
  })
  const leaving = new AbortController()
  const asked = endOf(ask('left', leaving.signal))
  leaving.abort(left)
  t.equal(await asked, 'left')
  call(3).crash(new Error('after all have left'))
  await clock.advance(DEADLINE_MS)
  call(2).crash(new Error('after the deadline'))
  await settled()
  await settled()
  t.strictSame(unhandled, [])
  t.equal(flights.size, 0)
})
