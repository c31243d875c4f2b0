import t from 'tap'

/** The benchmarks are plain JavaScript, which the compiler does not check. */
const load = (name: string) => import(new URL(`../bench/lib/${name}.mjs`, import.meta.url).href)
const { leastCalls } = (await load('least-calls')) as {
  leastCalls: (
    requests: readonly { at: number; id: string }[],
    options: { freshMs: number | (() => number); latencyMs?: number; from?: number },
  ) => number
}
const { median, quantile, ratios, spread, table } = (await load('stats')) as {
  median: (values: readonly number[]) => number
  quantile: (values: readonly number[], part: number) => number
  ratios: (values: readonly number[], bases: readonly number[]) => number[]
  spread: (values: readonly number[], digits?: number) => string
  table: (head: readonly string[], rows: readonly (readonly string[])[]) => string
}

const requests = (text: string) =>
  text.split(' ').map((item) => ({ id: item.slice(0, 1), at: Number(item.slice(1)) }))

await t.test('the minimum number of calls', async (t) => {
  await t.test(
    'one call serves all requests within the lifetime of its answer, the last millisecond included',
    async (t) => {
      t.equal(leastCalls(requests('a0 a5 a10'), { freshMs: 10 }), 1)
      t.equal(leastCalls(requests('a0 a5 a11'), { freshMs: 10 }), 2)
      t.equal(leastCalls(requests('a0 a11 a21 a22'), { freshMs: 10 }), 3)
    },
  )

  await t.test('calls are counted per station', async (t) => {
    t.equal(leastCalls(requests('a0 b1 a2 c3 b9'), { freshMs: 10 }), 3)
  })

  await t.test(
    'requests share a call in flight, and the lifetime of its answer starts when it arrives',
    async (t) => {
      t.equal(leastCalls(requests('a0 a12'), { freshMs: 10, latencyMs: 2 }), 1)
      t.equal(leastCalls(requests('a0 a13'), { freshMs: 10, latencyMs: 2 }), 2)
    },
  )

  await t.test('calls before the start of the count are left out', async (t) => {
    t.equal(leastCalls(requests('a0 b0 a8 b11'), { freshMs: 10, from: 8 }), 1)
  })

  await t.test('the lifetime of each answer may come from a function', async (t) => {
    const times = [1, 100]
    t.equal(leastCalls(requests('a0 a2 a90'), { freshMs: () => times.shift() ?? 0 }), 2)
  })
})

await t.test('the statistics of repeated measurements are computed', async (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(quantile([1, 2, 3, 4], 0.99), 4)
  t.equal(quantile([4, 1, 3, 2], 0.25), 1)
  t.ok(Number.isNaN(median([])))
  t.strictSame(ratios([2, 6, 9], [1, 2]), [2, 3])
  t.equal(spread([0.5, 0.75, 0.7]), '0.70 (0.50–0.75)')
  t.equal(spread([]), '–')
  t.equal(table(['a', 'b'], [['1', '2']]), '| a | b |\n| --- | --- |\n| 1 | 2 |')
})
