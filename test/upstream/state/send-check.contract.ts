import type { Test } from 'tap'
import type { TokenStore } from '../../../src/upstream/state/shared-token-bucket.ts'

const REUSE_MS = 600
const BUCKET = { count: 4, tokenReuseMs: REUSE_MS, reserved: 0 }

/** What the check of every shared store at the moment of sending promises. */
export async function sendCheckContract(
  t: Test,
  create: (t: Test) => Promise<readonly TokenStore[]>,
): Promise<void> {
  /** The `pass` of so many tokens, taken from each replica in turn, whenever they can be used. */
  const take = async (t: Test, count: number) => {
    const stores = await create(t)
    const used = Array.from({ length: count }, (_, i) => stores[i % stores.length] as Required<TokenStore>)
    await Promise.all(used.map((store) => store.take(BUCKET, 0, 60_000)))
    return used.map((store) => () => store.pass(BUCKET))
  }
  const timed = async (pass: () => Promise<unknown>) => {
    await pass()
    return performance.now()
  }

  await t.test('calls whose replicas send them late and together are sent within the limit', async (t) => {
    const passes = await take(t, 2 * BUCKET.count + 1)
    const times = (await Promise.all(passes.map(timed))).toSorted((a, b) => a - b)
    const after = (index: number) => (times[index] as number) - (times[0] as number)
    // Half of it: a reply may be late.
    t.ok(after(BUCKET.count) > REUSE_MS / 2, `the fifth after ${after(BUCKET.count)} ms`)
    t.ok(after(2 * BUCKET.count) > 1.5 * REUSE_MS, `the ninth after ${after(2 * BUCKET.count)} ms`)
  })

  await t.test('a call that arrives late delays the one after it for all replicas', async (t) => {
    const [late, ...others] = await take(t, BUCKET.count + 1)
    const last = others.pop()
    const startedAt = performance.now()
    const sent = await late?.()
    await Promise.all(others.map((pass) => pass()))
    await new Promise((resolve) => setTimeout(resolve, REUSE_MS / 2))
    sent?.arrived()
    await last?.()
    const ms = performance.now() - startedAt
    t.ok(ms > 1.4 * REUSE_MS, `after ${ms} ms`)
  })
}
