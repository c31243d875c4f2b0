import t from 'tap'
import type { Fault } from '../../src/simulator/fault-document.ts'
import { started, statusOf } from './support.ts'

await t.test('the faults over HTTP', async (t) => {
  const simulator = await started(t, { key: 'k' })
  const faults = (method: string, body?: string) =>
    fetch(`${simulator.url}/_simulator/faults`, { method, ...(body !== undefined && { body }) })
  const put = (document: unknown) => faults('PUT', JSON.stringify(document))

  await t.test(
    'PUT sets the faults, GET returns what is left of them, DELETE clears them; none of these is counted',
    async (t) => {
      const fault = { outcome: 'status', status: 503, times: 3 }
      t.same(await (await put(fault)).json(), [fault])
      t.equal(await statusOf(simulator, 'chargingAvailability=a&key=k'), 503)
      t.same(await (await faults('GET')).json(), [{ ...fault, times: 2 }])
      t.equal((await faults('DELETE')).status, 204)
      t.same(await (await faults('GET')).json(), [])
      t.equal(await statusOf(simulator, 'chargingAvailability=a&key=k'), 200)
      t.equal(simulator.calls, 2)
    },
  )

  await t.test('another method is a 405', async (t) => {
    const response = await faults('POST', '{}')
    t.equal(response.status, 405)
    t.equal(response.headers.get('allow'), 'GET, PUT, DELETE')
  })

  const invalid: [unknown, RegExp][] = [
    [null, /expected an object, got null/],
    ['reset', /expected an object, got "reset"/],
    [[[]], /outcome, latencyMs, deviation: expected one of them, got none/],
    [{}, /outcome, latencyMs, deviation: expected one of them, got none/],
    [{ outcome: 'explode' }, /outcome: expected one of status, hang, .*, got "explode"/],
    [{ outcome: 'status' }, /status, body: expected one of them/],
    [{ outcome: 'status', status: 200 }, /status: expected a whole number from 400 to 599, got 200/],
    [{ outcome: 'status', status: '500' }, /status: expected a whole number .*, got "500"/],
    [{ outcome: 'status', body: 'Nonsense' }, /body: expected one of Unauthorized, .*, got "Nonsense"/],
    [{ outcome: 'status', status: 429, retryAfter: 'a\nb' }, /retryAfter: expected seconds/],
    [{ outcome: 'hang', status: 500 }, /status: expected only with outcome 'status'/],
    [{ outcome: 'hang', probability: 1.5 }, /probability: expected a number from 0 to 1, got 1.5/],
    [{ outcome: 'hang', times: 0 }, /times: expected a whole number from 1/],
    [{ deviation: 'none' }, /deviation: expected one of miscounted, .*, got "none"/],
    [{ latencyMs: -1 }, /latencyMs: expected a number from 0/],
    [{ outcome: 'hang', constructor: 1 }, /constructor: expected one of outcome, /],
    [[{ outcome: 'hang' }, { outcome: 'drip', everyMs: 'x' }], /\[1\] everyMs: expected a number/],
  ]
  await t.test(
    'an invalid document is a 400 that names its problems, and the present faults stay active',
    async (t) => {
      await put({ latencyMs: 0 })
      const found: unknown[] = []
      for (const [document] of invalid) {
        const response = await put(document)
        found.push([response.status, await response.json()])
      }
      t.match(
        found,
        invalid.map(([, message]) => [400, { message }]),
      )
      const bodies = await Promise.all(['', '{', 'x'].map((body) => faults('PUT', body)))
      t.same(
        bodies.map(({ status }) => status),
        [400, 400, 400],
      )
      t.match(await (await faults('PUT', `"${'x'.repeat(70_000)}"`)).json(), {
        message: /at most 65536 bytes/,
      })
      t.same(await (await faults('GET')).json(), [{ latencyMs: 0 }])
    },
  )

  await t.test('setFaults reports all problems of a document at once', async (t) => {
    const document = { outcome: 'hang', times: 0.5, bytes: 1 } as unknown as Fault
    t.throws(() => simulator.setFaults(document), {
      message: /times: expected .*, got 0.5; bytes: expected only with outcome 'gzip-bomb'/,
    })
  })
})
