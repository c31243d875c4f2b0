import type { Socket } from 'node:net'
import t from 'tap'
import { MIN_RATE, UnreadTime } from '../../src/lib/unread-time.ts'

/** How far a client is behind after each second, in ms; what it takes in it, null if everything. */
function behind(takenInSeconds: readonly (number | null)[]): number[] {
  const unread = new UnreadTime()
  let taken = 0
  const at = (now: number, pending: number) =>
    unread.of(
      {
        _handle: { bytesWritten: taken + pending, writeQueueSize: pending },
        writableLength: pending,
      } as never,
      now,
    )
  at(0, 1_000_000)
  return takenInSeconds.map((bytes, i) => {
    taken += bytes ?? 0
    return at((i + 1) * 1_000, bytes === null ? 0 : 1_000_000)
  })
}

const LEAST = 1_000 * MIN_RATE

await t.test('a client is behind by the time in which it takes nothing', async (t) => {
  t.strictSame(behind([0, 0, 0]), [1_000, 2_000, 3_000])
})

await t.test(
  'a client that takes the least rate, at once or in parts, is never further behind',
  async (t) => {
    t.strictSame(behind([LEAST, LEAST, LEAST]), [0, 0, 0])
    t.strictSame(behind([0, 0, 3 * LEAST, 0, 0, 3 * LEAST]), [1_000, 2_000, 0, 1_000, 2_000, 0])
  },
)

await t.test('a client that takes less falls behind', async (t) => {
  t.strictSame(behind([LEAST - 1, LEAST - 1, LEAST - 1]), [1, 2, 3])
  t.strictSame(behind([0, 0, LEAST, 0, 0, LEAST]), [1_000, 2_000, 2_000, 3_000, 4_000, 4_000])
})

await t.test('what a client takes earlier gives it no time', async (t) => {
  t.strictSame(behind([1_000_000, 0, 0]), [0, 1_000, 2_000])
})

await t.test('a client that has taken everything is not behind, and begins anew', async (t) => {
  t.strictSame(behind([0, 0, null, 0, 0]), [1_000, 2_000, 0, 0, 1_000])
})

await t.test('a closed connection is not behind', async (t) => {
  t.equal(new UnreadTime().of({ writableLength: 5 } as Socket, 9), 0)
})
