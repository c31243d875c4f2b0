/** Requests at moments of their own, whether or not those before have been answered. */
import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'undici'

/**
 * Sends each of `requests` (`{ at, target }`, `at` in ms from the start) to every one of `ports` at the same moment.
 * Gives, for each port, one `{ at, status, ms, age }` per request; status 0 is a broken connection, `age` in seconds.
 */
export async function sendTo(ports, requests) {
  const pools = ports.map((port) => new Pool(`http://127.0.0.1:${port}`, { connections: 128 }))
  const answers = ports.map(() => [])
  const under = new Set()
  const startedAt = performance.now()
  for (const request of requests) {
    const early = request.at - (performance.now() - startedAt)
    if (early > 1) await wait(early)
    for (const [i, pool] of pools.entries()) {
      const asked = ask(pool, request).then((answer) => answers[i].push(answer))
      under.add(asked)
      void asked.finally(() => under.delete(asked))
    }
  }
  await Promise.all(under)
  await Promise.all(pools.map((pool) => pool.close()))
  return answers
}

async function ask(pool, { at, target }) {
  const sentAt = performance.now()
  try {
    const { statusCode, headers, body } = await pool.request({ method: 'GET', path: target })
    await body.dump()
    const ms = performance.now() - sentAt
    return { at, status: statusCode, ms, age: Number(headers.age ?? Number.NaN) }
  } catch {
    return { at, status: 0, ms: performance.now() - sentAt, age: Number.NaN }
  }
}
