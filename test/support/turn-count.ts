import type { Test } from 'tap'

/** Counts the turns of the event loop from now on, until the test ends. */
export function countTurns(t: Pick<Test, 'teardown'>): () => number {
  let turn = 0
  let isOver = false
  const count = () => {
    turn++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  t.teardown(() => (isOver = true))
  return () => turn
}
