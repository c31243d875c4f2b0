import t from 'tap'
import { systemClock } from '../../src/lib/clock.ts'

await t.test('a timer of the system clock fires once after its time', async (t) => {
  const startedAt = systemClock.now()
  const keepAlive = setTimeout(() => {}, 5_000) // the clock itself does not keep the process alive
  let calls = 0
  await new Promise<void>((resolve) => {
    systemClock.after(20, () => {
      calls++
      resolve()
    })
  })
  clearTimeout(keepAlive)
  t.ok(systemClock.now() - startedAt >= 19)
  t.equal(calls, 1)
})

await t.test('a cancelled timer of the system clock does not fire', async (t) => {
  let fired = false
  const cancel = systemClock.after(1, () => (fired = true))
  cancel()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.notOk(fired)
})

await t.test('wall time is in milliseconds since the Unix epoch', async (t) => {
  t.ok(Math.abs(systemClock.wall() - Date.now()) < 1_000)
})
