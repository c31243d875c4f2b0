import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { READ_EVERY_MS } from '../../src/lib/watched-file.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import type { StatusReport } from '../../src/ops/status/status.ts'
import { answerStatus } from '../support/scripted-upstream.ts'
import { openStream } from '../support/event-source.ts'
import { startService } from '../support/service.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

/** The tests wait for the file to be read again, so they run side by side. */
t.jobs = 7

const WITHIN_MS = READ_EVERY_MS + 5_000

async function start(t: Test, content: string, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'evproxy-settings-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'settings')
  writeFileSync(file, content)
  const service = await startService(t, {
    env: { SETTINGS_FILE: file, CACHE_TTL: '1h', CACHE_MAX_TTL: '2h', ...env },
  })
  const status = async () => JSON.parse((await service.requestAdmin('/status')).text) as StatusReport
  const logged = (msg: string) => service.proxy.logs.filter((line) => line['msg'] === msg).length
  /** Replaces the file and waits until it was read. */
  const change = async (next: string) => {
    const before = logged('settings reloaded')
    writeFileSync(file, next)
    await until('the change is in force', () => logged('settings reloaded') > before, WITHIN_MS)
  }
  const cacheStatus = async (id: string) =>
    (await service.get(`chargingAvailability=${id}`)).headers['cache-status']
  return { ...service, file, status, logged, change, cacheStatus }
}

void t.test(
  'TTLs, the log level and the limits change without a restart and without losing the cache',
  async (t) => {
    const { get, upstream, proxy, status, change, cacheStatus } = await start(t, 'CACHE_TTL=1m\n', {
      UPSTREAM_QUOTA: '100/day',
      UPSTREAM_MAX_QPS: '50',
      CACHE_STALE_WHILE_REVALIDATE: '0',
    })
    await get('chargingAvailability=a')
    t.match(await cacheStatus('a'), /; hit; ttl=\d\d$/, 'a minute, or a little longer under the quota')
    await change(
      'CACHE_TTL=30m\nLOG_LEVEL=info\nUPSTREAM_MAX_QPS=40\nUPSTREAM_QUOTA=200/day\nCACHE_STALE_IF_ERROR=2h',
    )
    t.match(await cacheStatus('a'), /; hit; ttl=[1-7]\d\d\d$/, 'the same entry has the new TTL')
    t.equal(upstream.calls.length, 1)
    t.strictSame(
      [await proxy.metric('evproxy_quota_limit'), await proxy.metric('evproxy_quota_remaining')],
      [200, 199],
      'what was spent stays spent',
    )
    t.equal(proxy.app.log.level, 'info')
    const report = await status()
    t.match(report.settings, {
      problem: null,
      inForce: { CACHE_TTL: '30m', UPSTREAM_QUOTA: '200/day', PORT: '0' },
    })
    t.ok(report.settings.changedAt)
    t.match(report, { cache: { ttlMs: 1_800_000 }, upstream: { callsPerSecond: 40 }, quota: { limit: 200 } })
  },
)

void t.test('a longer CACHE_STALE_IF_ERROR applies to what is cached', async (t) => {
  const { get, upstream, change, cacheStatus } = await start(t, 'CACHE_STALE_IF_ERROR=0', {
    CACHE_TTL: '1ms',
    CACHE_STALE_WHILE_REVALIDATE: '0',
  })
  await get('chargingAvailability=a')
  upstream.script = answerStatus(500)
  await change('CACHE_STALE_IF_ERROR=2h')
  t.match(await cacheStatus('a'), /; hit; .*detail=UpstreamFailed/)
})

void t.test('a mistake keeps what is in force, and is logged and shown until it is corrected', async (t) => {
  const { file, status, logged, proxy } = await start(t, 'CACHE_TTL=10s\n')
  writeFileSync(file, 'CACHE_TTL=soon\n')
  const rejected = 'settings not reloaded, the current settings stay in effect'
  await until('the mistake is logged', () => logged(rejected) === 1, WITHIN_MS)
  t.match(
    proxy.logs.find(({ msg }) => msg === rejected),
    { level: 'warn', reason: /CACHE_TTL: expected a duration/ },
  )
  t.match(await status(), {
    cache: { ttlMs: 10_000 },
    settings: { problem: /CACHE_TTL/, inForce: { CACHE_TTL: '10s' } },
  })
  writeFileSync(file, 'CACHE_TTL=10s\n')
  await until('the problem is over', async () => (await status()).settings.problem === null, WITHIN_MS)
})

void t.test(
  'a TTL of 0 drops what is cached and stores nothing, and a longer one stores again',
  async (t) => {
    const { get, upstream, change, cacheStatus, proxy } = await start(t, '')
    await get('chargingAvailability=a')
    await change('CACHE_TTL=0')
    t.equal(await proxy.metric('evproxy_cache_entries'), 0)
    await get('chargingAvailability=a')
    await get('chargingAvailability=a')
    t.equal(upstream.calls.length, 3)
    await change('CACHE_TTL=1h')
    await get('chargingAvailability=a')
    t.match(await cacheStatus('a'), /; hit;/)
  },
)

void t.test('a TTL of 0 ends streams and what is watched, and a longer one allows both again', async (t) => {
  const watchFile = join(temporaryFolder(), 'watched')
  writeFileSync(watchFile, 'kept\n')
  const { change, proxy, upstream, request } = await start(t, 'CACHE_TTL=1s', { WATCH_FILE: watchFile })
  const stream = await openStream(t, proxy.url, 'chargingAvailability=a')
  await stream.received(1)
  await change('CACHE_TTL=0')
  await until('the stream has ended', stream.hasEnded)
  t.equal(await proxy.metric('evproxy_watched_stations'), 0)
  t.match(
    proxy.logs.find(({ msg }) => msg === 'stream closed'),
    { reason: 'settings' },
  )
  const calls = upstream.calls.length
  t.equal((await request('/events?chargingAvailability=a')).status, 400)
  await change('CACHE_TTL=2s')
  t.ok(upstream.calls.length - calls <= 1, 'no calls meanwhile')
  t.equal(await proxy.metric('evproxy_watched_stations'), 1)
  const again = await openStream(t, proxy.url, 'chargingAvailability=a')
  t.equal(again.status, 200)
  await again.received(1)
})

void t.test('a quota can be set, replaced by one of another period, and removed', async (t) => {
  const { get, proxy, change, status } = await start(t, '')
  t.equal((await status()).quota, null)
  await change('UPSTREAM_QUOTA=2/day')
  await get('chargingAvailability=a')
  t.equal((await get('chargingAvailability=b')).status, 503, 'released in the second half of the day')
  t.match((await status()).quota, { limit: 2, remaining: 1 })
  await change('UPSTREAM_QUOTA=1/day')
  t.match((await status()).quota, { limit: 1, remaining: 0 }, 'a limit below what was spent')
  t.equal((await get('chargingAvailability=c')).status, 503)
  await change('UPSTREAM_QUOTA=500/month')
  t.equal((await get('chargingAvailability=c')).status, 200)
  t.equal(await proxy.metric('evproxy_quota_limit'), 500)
  t.equal((await status()).settings.inForce['UPSTREAM_QUOTA'], '500/month')
  t.match((await status()).quota, { remaining: 499 }, 'another kind of period begins a new count')
  await change('UPSTREAM_QUOTA=9/day')
  t.match((await status()).quota, { limit: 9, remaining: 7 }, 'the day has forgotten no call')
  await change('')
  const { quota, settings } = await status()
  t.strictSame([quota, settings.inForce['UPSTREAM_QUOTA']], [null, undefined])
  t.equal((await get('chargingAvailability=d')).status, 200)
})

void t.test('a quota in Redis keeps what was spent when its limit changes', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const { get, status, change } = await start(t, 'UPSTREAM_QUOTA=3/day', { REDIS_URL: redis.url })
  t.equal((await get('chargingAvailability=a')).status, 200)
  t.equal((await get('chargingAvailability=b')).status, 503)
  await change('UPSTREAM_QUOTA=5/day')
  t.equal((await get('chargingAvailability=b')).status, 200)
  t.equal((await get('chargingAvailability=c')).status, 503)
  t.match((await status()).quota, { limit: 5, remaining: 3 })
})
