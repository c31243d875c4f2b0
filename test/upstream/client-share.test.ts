import t from 'tap'
import { ClientQuotaError } from '../../src/errors.ts'
import { withPolicies } from '../../src/upstream/policies.ts'
import { LocalQuota } from '../../src/upstream/state/quota-ledger.ts'
import { TestClock } from '../support/clock.ts'
import { answering, CALLER, ended, failing, ScriptedSource, unreached } from './doubles.ts'
import { broadcast } from '../support/broadcast.ts'

function setup(clientShare: number, limit = 10, { hasNamedClients = true, clientCount = 2 } = {}) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  inner.always = answering
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const events: string[] = []
  const observer = broadcast([
    { clientLimited: (kind) => void events.push(kind), clientCalled: (name) => void events.push(name) },
  ])
  const pacing = { rations: false, isRationing: () => pacing.rations }
  const clients = { clientShare, hasNamedClients, clientCount: () => clientCount }
  const { source } = withPolicies(
    { perSecond: 0, queueTimeoutMs: 0, timeoutMs: 3_000, ...clients },
    {
      source: inner.source,
      stores: null,
      apiKey: () => 'key',
      random: () => 0,
      clock,
      observer,
      quota: { ledger, pacing },
    },
  )
  const spend = async (client: string | undefined, calls: number) => {
    let sent = 0
    for (let i = 0; i < calls; i++) {
      const { state } = await ended(source(`${i}`, client === undefined ? CALLER : { ...CALLER, client }))
      if (state === 'ok') sent++
    }
    return sent
  }
  return { clock, inner, ledger, source, spend, events, pacing }
}

await t.test('a client spends floor(quota × share) calls, and others the rest', async (t) => {
  const { spend, clock, ledger } = setup(0.25)
  t.equal(await spend('a', 10), 2)
  t.equal(await spend('b', 1), 1)
  t.equal(await spend(undefined, 6), 6, 'calls that are charged to nobody')
  t.equal(await spend('b', 10), 1, 'to the last call of the quota')
  t.equal(ledger.remaining, 0)
  await clock.advance(ledger.resetAtMs - clock.wall())
  t.equal(await spend('a', 10), 2, 'the next period')
})

await t.test('the error has the time until the period ends, and is counted', async (t) => {
  const { spend, source, clock, ledger, events } = setup(0.1)
  await spend('a', 1)
  const { error } = await ended(source('x', { ...CALLER, client: 'a' }))
  t.ok(error instanceof ClientQuotaError)
  t.match(error, { code: 'QuotaExhausted', status: 503, retryAfterMs: ledger.resetAtMs - clock.wall() })
  t.strictSame(events, ['a', 'quota'])
})

await t.test('a share of 100% limits no client', async (t) => {
  const { spend, events } = setup(1)
  t.equal(await spend('a', 20), 10)
  t.notOk(events.includes('quota'))
})

await t.test('a call that was not sent is returned to its client', async (t) => {
  const { spend, inner } = setup(0.1)
  inner.always = failing(unreached)
  t.equal(await spend('a', 3), 0)
  inner.always = answering
  t.equal(await spend('a', 3), 1)
})

/** The calls of three callers while calls are rationed, after client a has spent half of 400 calls before. */
async function spentUnderRationing(options: { hasNamedClients?: boolean; clientCount?: number }) {
  const { spend, pacing } = setup(0.5, 400, options)
  await spend('a', 400)
  pacing.rations = true
  return { a: await spend('a', 10), nobody: await spend(undefined, 10), b: await spend('b', 300) }
}

await t.test('while calls are rationed, a client need not wait because of what others spend', async (t) => {
  t.strictSame(
    {
      two: await spentUnderRationing({ clientCount: 2 }),
      four: await spentUnderRationing({ clientCount: 4 }),
      addresses: await spentUnderRationing({ hasNamedClients: false }),
    },
    {
      two: { a: 0, nobody: 0, b: 199 }, // as many as a, one less
      four: { a: 0, nobody: 0, b: 66 }, // a quarter of what is spent then
      addresses: { a: 0, nobody: 0, b: 0 },
    },
  )
})

await t.test('clients that spend alike are rationed alike', async (t) => {
  const { spend, pacing, ledger } = setup(0.5, 400)
  pacing.rations = true
  const spent = { a: 0, b: 0 }
  for (let i = 0; i < 300; i++) {
    spent.a += await spend('a', 1)
    spent.b += await spend('b', 1)
  }
  t.strictSame(spent, { a: 50, b: 50 })
  t.equal(ledger.spent, 100, 'the calls that are released at the start')
})
