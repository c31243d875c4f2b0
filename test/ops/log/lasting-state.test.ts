import t from 'tap'
import type { Lasted } from '../../../src/ops/log/lasting-state.ts'
import { LastingState, QUIET_MS } from '../../../src/ops/log/lasting-state.ts'
import { TestClock } from '../../support/clock.ts'

function setup() {
  const clock = new TestClock()
  const state = new LastingState(clock)
  const lines: string[] = []
  const begin = () => state.begin(() => void lines.push('begins'))
  const end = () =>
    state.end(({ seconds, times }: Lasted) => void lines.push(`ends after ${seconds}, ${times}`))
  return { clock, state, lines, begin, end }
}

await t.test('a state that lasts has a line at its beginning and one at its end', async (t) => {
  const { clock, lines, begin, end } = setup()
  t.equal(begin(), true)
  for (let i = 0; i < 5; i++) begin()
  await clock.advance(90_000)
  t.equal(end(), true)
  t.strictSame(lines, ['begins', 'ends after 90, 6'])
  t.equal(end(), false, 'it ends once')
  t.equal(clock.pending, 0)
})

await t.test(
  'a state that flaps 744 times in 18 minutes has four lines, the last with the count',
  async (t) => {
    const { clock, lines, begin, end } = setup()
    for (let i = 0; i < 744; i++) {
      begin()
      await clock.advance(1_000)
      end()
      await clock.advance(452)
    }
    t.strictSame(lines, ['begins', 'ends after 1, 1', 'begins'])
    await clock.advance(QUIET_MS)
    t.strictSame(lines.slice(3), ['ends after 1079.836, 744'])
  },
)

await t.test(
  'a state that begins again within a minute goes on, and after a minute it is a new one',
  async (t) => {
    const timesAfter = async (pauseMs: number) => {
      const { clock, lines, begin, end } = setup()
      begin()
      end()
      await clock.advance(pauseMs)
      const isNew = begin()
      end()
      await clock.advance(QUIET_MS)
      return [isNew, lines.at(-1)]
    }
    t.strictSame(await timesAfter(QUIET_MS - 1), [false, 'ends after 59.999, 2'])
    t.strictSame(await timesAfter(QUIET_MS), [true, 'ends after 0, 1'])
  },
)

await t.test('a state that was reset begins as a new one, and has no end', async (t) => {
  const { state, lines, begin, end } = setup()
  begin()
  state.reset()
  t.equal(end(), false)
  t.equal(begin(), true)
  t.strictSame(lines, ['begins', 'begins'])
})
