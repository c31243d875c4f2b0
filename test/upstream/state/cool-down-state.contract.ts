import type { Test } from 'tap'
import { ServiceError } from '../../../src/errors.ts'
import type { CoolDownState, Rejection } from '../../../src/upstream/state/cool-down-state.ts'

/** The state of replicas that share cool-downs; the local implementation has one. */
export interface CoolDownHarness {
  readonly states: readonly CoolDownState[]
  /** The clock of all states. */
  readonly now: () => number
  readonly pass: (ms: number) => Promise<void>
  /** Diagnoses that were reported, and `recovered`, by replica. */
  readonly events: readonly (readonly string[])[]
}

const KEY = 'key'
const WAIT_MS = 1_000
/** Longer than a write to a store takes. */
const WRITE_MS = 100

/** What every implementation of CoolDownState promises. */
export async function coolDownContract(
  t: Test,
  create: (t: Test) => Promise<CoolDownHarness>,
): Promise<void> {
  const setup = async (t: Test) => {
    const harness = await create(t)
    const [first] = harness.states as [CoolDownState]
    const admitWith = (key: string) =>
      Promise.all(
        harness.states.map(async (state) => {
          try {
            return await state.admit(key)
          } catch (error) {
            return error instanceof ServiceError ? error.code : String(error)
          }
        }),
      )
    const reject = async (rejection: Partial<Rejection> = {}) => {
      await harness.pass(1)
      const waitMs = first.reject(KEY, {
        code: 'UpstreamRefused',
        status: 403,
        diagnosis: 'a likely cause',
        retryAfterMs: WAIT_MS,
        startedAt: harness.now(),
        ...rejection,
      })
      await harness.pass(WRITE_MS)
      return waitMs
    }
    const all = (value: string) => harness.states.map(() => value)
    return { ...harness, first, admitWith, admit: () => admitWith(KEY), reject, all }
  }

  await t.test('without a cool-down every call is admitted', async (t) => {
    const { admit, all } = await setup(t)
    t.strictSame(await admit(), all('call'))
    t.strictSame(await admit(), all('call'))
  })

  await t.test('a rejection delays calls with the same key, with its code', async (t) => {
    const { admit, reject, all, events } = await setup(t)
    t.equal(await reject(), WAIT_MS)
    t.strictSame(await admit(), all('UpstreamRefused'))
    t.strictSame(await admit(), all('UpstreamRefused'))
    t.strictSame(
      events,
      all('').map(() => ['a likely cause']),
      'each replica reports it once',
    )
  })

  await t.test('a rejection does not delay calls with another key', async (t) => {
    const { admitWith, reject, all } = await setup(t)
    await reject()
    t.strictSame(await admitWith('another key'), all('call'))
  })

  await t.test('after a cool-down one probe is admitted until it has ended', async (t) => {
    const { admit, reject, pass, states } = await setup(t)
    await reject()
    await admit()
    await pass(WAIT_MS)
    const admissions = await admit()
    const others = admissions.filter((admission) => admission !== 'probe')
    t.equal(others.length, states.length - 1)
    t.ok(others.every((code) => code === 'UpstreamRefused'))
    t.notOk((await admit()).includes('probe'), 'while the probe is in flight')
    states[admissions.indexOf('probe')]?.endProbe(KEY)
    await pass(WRITE_MS)
    t.equal((await admit()).filter((admission) => admission === 'probe').length, 1)
  })

  await t.test('an accepted call ends the cool-down, unless it began before', async (t) => {
    const { admit, reject, pass, first, now, all, events, states } = await setup(t)
    const before = now()
    await reject()
    await admit()
    first.accept(KEY, before)
    await pass(WRITE_MS)
    t.strictSame(await admit(), all('UpstreamRefused'))
    await pass(WAIT_MS)
    const probing = states[(await admit()).indexOf('probe')] as CoolDownState
    probing.accept(KEY, now())
    probing.endProbe(KEY)
    await pass(WRITE_MS)
    t.equal(await probing.admit(KEY), 'call')
    t.equal(events.flat().filter((event) => event === 'recovered').length, 1)
  })

  await t.test('cool-downs in a row without Retry-After double, whichever replica is rejected', async (t) => {
    const { reject, admit, states, now, pass } = await setup(t)
    t.equal(await reject({ retryAfterMs: undefined }), 5_000)
    await admit()
    const last = states.at(-1) as CoolDownState
    await pass(1)
    const waitMs = last.reject(KEY, {
      code: 'UpstreamRefused',
      status: 403,
      diagnosis: 'a likely cause',
      retryAfterMs: undefined,
      startedAt: now(),
    })
    t.equal(waitMs, 10_000)
  })
}
