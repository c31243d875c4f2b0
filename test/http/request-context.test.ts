import t from 'tap'
import type { WireResponse } from '../support/request.ts'
import { answerStation, Barrier } from '../support/scripted-upstream.ts'
import { perCall, waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { UUID } from './cases.ts'

const idOf = ({ headers }: WireResponse) => String(headers['tracking-id'])

await t.test('Tracking-ID', async (t) => {
  const barrier = new Barrier()
  const script = perCall(({ id }) => (id === 'held' ? waitFor(barrier) : answerStation))
  const { get, request, upstream } = await startService(t, { script })
  const returned = async (value: string | string[]) =>
    idOf(await get('chargingAvailability=a', { headers: { 'tracking-id': value } }))

  await t.test("the client's own Tracking-ID is returned if it has the documented form", async (t) => {
    const own = ['a', '0', '-', '9ac68072-c7a4-11e8-a8d5-f2801f1b9fd1', 'x'.repeat(100)]
    t.strictSame(await Promise.all(own.map(returned)), own)
  })

  await t.test('an invalid or missing Tracking-ID is replaced by a new one, without an error', async (t) => {
    const invalid = ['', 'x'.repeat(101), 'a b', 'a_b', 'ä', 'a.b', 'a,b', '<script>', ['a', 'b']]
    const ids = await Promise.all([...invalid.map(returned), get('chargingAvailability=a').then(idOf)])
    t.strictSame(
      ids.filter((id) => !UUID.test(id)),
      [],
    )
    t.equal(new Set(ids).size, ids.length, 'each is different')
  })

  await t.test('error responses and preflights have the Tracking-ID of their request', async (t) => {
    const headers = { 'tracking-id': 'mine-2' }
    const responses = await Promise.all([
      request('/nothing/here', { headers }),
      request('/healthz', { headers }),
      get('', { headers }),
      get('chargingAvailability=a', { headers, ext: 'csv' }),
      get('chargingAvailability=a', { headers, method: 'DELETE' }),
      get('chargingAvailability=a', { headers, method: 'OPTIONS' }),
      request('/search/2/chargingAvailability%zz.json', { headers }),
    ])
    t.strictSame(
      responses.map(idOf),
      responses.map(() => 'mine-2'),
    )
  })

  await t.test('waiters of one call have their own Tracking-IDs, and none is forwarded', async (t) => {
    const waiting = ['one', 'two', 'three'].map((id) =>
      get('chargingAvailability=held', { headers: { 'tracking-id': id } }),
    )
    await until('the call was sent', () => upstream.callsFor('held') === 1)
    barrier.open()
    t.strictSame((await Promise.all(waiting)).map(idOf), ['one', 'two', 'three'])
    t.match(idOf(await get('chargingAvailability=held')), UUID, 'a hit has a new one')
    const sent = upstream.calls.map(({ headers }) => headers['tracking-id'])
    t.notOk(sent.includes('one'))
  })
})
