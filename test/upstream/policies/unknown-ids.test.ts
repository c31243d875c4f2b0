import t from 'tap'
import type { Availability } from '../../../src/availability/model.ts'
import { UpstreamError } from '../../../src/upstream/outcomes.ts'
import { UnknownIdAllowance } from '../../../src/upstream/pacing/unknown-id-allowance.ts'
import { UnknownIdPolicy } from '../../../src/upstream/policies/unknown-ids.ts'
import { TestClock } from '../../support/clock.ts'
import { referenceStation, station } from '../../support/stations.ts'

const HOUR = 3_600_000
const KNOWN = { lowPriority: false, hasStale: true, isKnown: true }
const UNKNOWN = { lowPriority: false, hasStale: false, isKnown: false }

/** 1,000 calls a day: 10 unknown ids at once, 50 a day. */
function setup() {
  const clock = new TestClock()
  const allowance = new UnknownIdAllowance({ quota: { spent: 0, remaining: 1_000, per: 'day' }, clock })
  const heldBack: string[] = []
  let answer: () => Availability = () => referenceStation('a')
  const policy = new UnknownIdPolicy({
    allowance,
    observer: { upstreamHeldBack: (by) => void heldBack.push(by) },
    clock,
  })
  const call = policy.policy(async () => answer())
  const codes = async (count: number, options = UNKNOWN, id = 'a') => {
    const seen: string[] = []
    for (let i = 0; i < count; i++) {
      seen.push(
        await call(id, options).then(
          () => 'ok',
          (error: unknown) => (error as { code: string }).code,
        ),
      )
    }
    return seen
  }
  return {
    clock,
    allowance,
    heldBack,
    codes,
    isAffordable: (id: string) => policy.isAffordable(UNKNOWN, id),
    answerWith: (next: () => Availability) => {
      answer = next
    },
  }
}

const repeat = (count: number, value: string) => Array.from({ length: count }, () => value)

await t.test('a new id that exists costs the allowance nothing', async (t) => {
  const { allowance, codes } = setup()
  t.strictSame(await codes(100), repeat(100, 'ok'))
  t.equal(allowance.remaining, 10)
})

for (const [title, answer, code] of [
  ['an empty answer', () => station('a'), 'ok'],
  [
    'a 400',
    () => {
      throw new UpstreamError('bad_request', { reason: 'r', upstreamStatus: 400 })
    },
    'InvalidParameter',
  ],
  [
    'a 404',
    () => {
      throw new UpstreamError('not_found', { reason: 'r', upstreamStatus: 404 })
    },
    'NotFound',
  ],
] as const) {
  await t.test(
    `${title} is charged to the allowance, and unknown ids are rejected once it is used up`,
    async (t) => {
      const { codes, answerWith, heldBack } = setup()
      answerWith(answer)
      t.strictSame(await codes(12), [...repeat(10, code), 'QuotaExhausted', 'QuotaExhausted'])
      t.strictSame(heldBack, ['quota', 'quota'])
    },
  )
}

await t.test('a failure of upstream is not charged to the allowance', async (t) => {
  const { allowance, codes, answerWith } = setup()
  answerWith(() => {
    throw new UpstreamError('server_error', { reason: 'r', upstreamStatus: 500 })
  })
  t.strictSame(await codes(20), repeat(20, 'UpstreamFailed'))
  t.equal(allowance.remaining, 10)
})

await t.test('known stations are not affected by a used up allowance', async (t) => {
  const { codes, answerWith } = setup()
  answerWith(() => station('a'))
  await codes(11)
  t.strictSame(await codes(5, KNOWN), repeat(5, 'ok'))
})

await t.test('the allowance refills evenly by 5 percent of the quota a day', async (t) => {
  const { clock, codes, answerWith } = setup()
  answerWith(() => station('a'))
  await codes(11)
  await clock.advance((24 * HOUR) / 50)
  t.strictSame(await codes(2, UNKNOWN, 'another'), ['ok', 'QuotaExhausted'])
})

await t.test('an id that is asked for again, a minute after it was rejected', async (t) => {
  const MINUTE = 60_000
  /** The allowance is used up, and two ids were rejected. */
  const setupRejected = async () => {
    const ctx = setup()
    ctx.answerWith(() => station('a'))
    await ctx.codes(10, UNKNOWN, 'made up')
    t.strictSame(
      [await ctx.codes(1, UNKNOWN, 'a'), await ctx.codes(1, UNKNOWN, 'b')],
      [['QuotaExhausted'], ['QuotaExhausted']],
    )
    return ctx
  }

  await t.test('is called for, but not a moment earlier, and others are not', async (t) => {
    const ctx = await setupRejected()
    ctx.answerWith(() => referenceStation('a'))
    await ctx.clock.advance(MINUTE - 1)
    const early = [ctx.isAffordable('a'), await ctx.codes(1, UNKNOWN, 'a')]
    await ctx.clock.advance(1)
    const late = [ctx.isAffordable('a'), await ctx.codes(1, UNKNOWN, 'a'), await ctx.codes(1, UNKNOWN, 'c')]
    t.strictSame(
      [early, late],
      [
        [false, ['QuotaExhausted']],
        [true, ['ok'], ['QuotaExhausted']],
      ],
    )
  })

  await t.test('costs nothing if it exists, so that all others get their call too', async (t) => {
    const ctx = await setupRejected()
    ctx.answerWith(() => referenceStation('a'))
    await ctx.clock.advance(MINUTE)
    t.strictSame([await ctx.codes(1, UNKNOWN, 'a'), await ctx.codes(1, UNKNOWN, 'b')], [['ok'], ['ok']])
  })

  await t.test('takes one call in advance if it is made up, and the next one none', async (t) => {
    const ctx = await setupRejected()
    await ctx.clock.advance(MINUTE)
    const codes = [await ctx.codes(1, UNKNOWN, 'a'), await ctx.codes(1, UNKNOWN, 'b')]
    const afterOneRefill = await ctx.clock.advance(HOUR / 2 - MINUTE).then(() => ctx.codes(1, UNKNOWN, 'new'))
    t.strictSame(
      [codes, afterOneRefill],
      [[['ok'], ['QuotaExhausted']], ['QuotaExhausted']],
      'the refill pays it first',
    )
  })
})
