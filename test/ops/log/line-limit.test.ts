import t from 'tap'
import { LineLimit, MAX_CAUSES, MAX_LINES } from '../../../src/ops/log/line-limit.ts'
import { TestClock } from '../../support/clock.ts'

function setup() {
  const clock = new TestClock()
  const limit = new LineLimit(clock)
  const reports: string[] = []
  const write = (cause: string, times = 1) =>
    Array.from({ length: times }, () =>
      limit.allows(cause, (leftOut) => void reports.push(`${cause} ${leftOut}`)),
    ).filter(Boolean).length
  return { clock, limit, reports, write }
}

await t.test(
  'ten lines of a cause are written within a second, the others are reported at its end',
  async (t) => {
    const { clock, reports, write } = setup()
    t.strictSame([write('a', MAX_LINES - 1), write('a'), write('a')], [9, 1, 0])
    t.equal(write('a', 489), 0)
    t.strictSame(reports, [])
    await clock.advance(1_000)
    t.strictSame(reports, ['a 490'])
    t.equal(write('a', 20), 10, 'the next second has lines of its own')
  },
)

await t.test('ten lines and fewer have no report', async (t) => {
  const { clock, reports, write } = setup()
  write('a', MAX_LINES)
  await clock.advance(1_000)
  t.strictSame(reports, [])
  t.equal(clock.pending, 0)
})

await t.test('each cause has lines of its own, and causes over a hundred share theirs', async (t) => {
  const { clock, reports, write } = setup()
  const written = Array.from({ length: MAX_CAUSES + 5 }, (_, i) => write(`cause ${i}`, 11))
  t.strictSame([...new Set(written.slice(0, MAX_CAUSES))], [10])
  t.strictSame(written.slice(MAX_CAUSES), [10, 0, 0, 0, 0])
  await clock.advance(1_000)
  t.equal(reports.length, MAX_CAUSES + 1)
  t.equal(reports.at(-1), 'cause 104 45')
})

await t.test('what was left out is reported at once when the process ends', async (t) => {
  const { limit, clock, reports, write } = setup()
  write('a', 12)
  limit.flush()
  t.strictSame(reports, ['a 2'])
  t.equal(clock.pending, 0)
})
