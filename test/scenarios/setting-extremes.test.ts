import t from 'tap'
import { RedisServer, NO_REDIS } from '../support/redis.ts'
import { answerStation, answerStatus } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'

/* Settings that are valid one by one, in pairs of their extremes. */

const EXTREMES: readonly (readonly [name: string, ...values: string[]])[] = [
  ['CACHE_TTL', '0', '1ms', '24h'],
  ['CACHE_STALE_WHILE_REVALIDATE', '0', '24h'],
  ['CACHE_STALE_IF_ERROR', '0', '24h'],
  ['CACHE_EMPTY_TTL', '0', '24h'],
  ['CACHE_MAX_TTL', '24h', '744h'],
  ['CACHE_MAX_ENTRIES', '1', '10000000'],
  ['CACHE_MAX_BYTES', '1KB', '64GB'],
  ['UPSTREAM_TIMEOUT', '100ms', '5m'],
  ['UPSTREAM_SOFT_TIMEOUT', '0', '99ms'],
  ['UPSTREAM_MAX_CONNECTIONS', '1', '1000'],
  ['UPSTREAM_MAX_QPS', '0', '0.000001', '100000'],
  ['UPSTREAM_QUEUE_TIMEOUT', '0', '60s'],
  ['UPSTREAM_QUOTA', '', '1/day', '999999999999/month'],
  ['UPSTREAM_LIMIT_SHARE', '1/1', '1/999999'],
  ['CLIENT_RATE_LIMIT', '0', '100000'],
  ['CLIENT_MAX_IN_FLIGHT', '0', '1'],
  ['CLIENT_QUOTA_SHARE', '1%', '100%'],
]

/** Rows in which every pair of values of two settings occurs. */
function rowsOfPairs(): Record<string, string>[] {
  const pairOf = (i: number, a: string, j: number, b: string) => `${i} ${a} ${j} ${b}`
  const open = new Set<string>()
  const all = EXTREMES.map(([, ...values]) => values)
  for (const [i, as] of all.entries()) {
    for (const [j, bs] of all.entries()) {
      if (i < j) for (const a of as) for (const b of bs) open.add(pairOf(i, a, j, b))
    }
  }
  const rows: string[][] = []
  while (open.size > 0) {
    const [i, a, j, b] = (([...open][0] as string).match(/^(\d+) (.*) (\d+) (.*)$/) ?? []).slice(1) as [
      string,
      string,
      string,
      string,
    ]
    const row: string[] = []
    row[Number(i)] = a
    row[Number(j)] = b
    for (const [k, values] of all.entries()) {
      const gain = (value: string) =>
        row.filter(
          (other, m) => m !== k && open.has(m < k ? pairOf(m, other, k, value) : pairOf(k, value, m, other)),
        ).length
      row[k] ??= values.toSorted((x, y) => gain(y) - gain(x))[0] as string
    }
    for (const [k, value] of row.entries()) {
      for (const [m, other] of row.entries()) if (k < m) open.delete(pairOf(k, value, m, other))
    }
    rows.push(row)
  }
  return rows.map(
    (row) => Object.fromEntries(row.map((value, k) => [EXTREMES[k]?.[0], value])) as Record<string, string>,
  )
}

await t.test('no pair of extremes of settings is a defect or closes Redis', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const rows = rowsOfPairs()
  const problems: string[] = []
  for (const row of rows) {
    await redis.cli('FLUSHALL')
    const service = await startService(t, { env: { ...row, REDIS_URL: redis.url } })
    const { upstream, get, proxy } = service
    await until('Redis can be reached', async () => (await proxy.metric('evproxy_shared_cache_up')) === 1)
    upstream.script = (call, response, context) => {
      if (call.id.startsWith('missing')) void answerStatus(404)(call, response, context)
      else if (call.id.startsWith('broken')) void answerStatus(500)(call, response, context)
      else if (call.id.startsWith('empty'))
        response.end(JSON.stringify({ connectors: [], chargingAvailability: call.id }))
      else answerStation(call, response)
    }
    const results = []
    for (const id of ['full', 'empty', 'missing', 'broken', 'full', 'empty', 'missing']) {
      const timeout = new Promise<null>((resolve) => setTimeout(resolve, 150, null))
      results.push(await Promise.race([get(`chargingAvailability=${id}`), timeout]))
    }
    if (results.some((result) => result?.status === 500)) problems.push(`500 with ${JSON.stringify(row)}`)
    const closed = proxy.logs.filter(
      ({ msg, reason }) =>
        String(msg).startsWith('shared cache unavailable') && !String(reason).includes('timed out'),
    )
    if (closed.length > 0) problems.push(`Redis closed with ${JSON.stringify(row)}`)
    const rejected = proxy.logs.filter(({ msg }) => msg === 'Redis rejected a command')
    if (rejected.length > 0) problems.push(`a command was rejected with ${JSON.stringify(row)}`)
  }
  t.strictSame(problems, [])
  t.comment(`${rows.length} rows`)
})
