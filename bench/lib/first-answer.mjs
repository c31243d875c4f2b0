import { setTimeout as wait } from 'node:timers/promises'

const LIMIT_MS = 60_000

/** Resolves with the moment of the first answer with 200; rejects after a minute. */
export async function firstAnswer(url) {
  const limit = performance.now() + LIMIT_MS
  while (performance.now() < limit) {
    const answer = await fetch(url).catch(() => null)
    await answer?.arrayBuffer()
    if (answer?.status === 200) return performance.now()
    await wait(3)
  }
  throw new Error(`${url} does not answer`)
}
