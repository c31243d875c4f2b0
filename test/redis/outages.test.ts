import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { build, Process } from '../support/process.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { freePort } from '../support/free-port.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { ScriptedUpstream } from '../support/scripted-upstream.ts'
import type { Service } from '../support/service.ts'
import { startService } from '../support/service.ts'
import { slowLink } from '../support/slow-link.ts'
import { missing } from '../support/requirements.ts'
import { until } from '../support/until.ts'

const PASSWORD = 'pass@w0rd/with:all%kinds'
const ENCODED = encodeURIComponent(PASSWORD)
/** Longer than a command's timeout on a loaded machine; upstream answers at once. */
const NOT_HUNG_MS = 1_500
const AWAY = 'shared cache unavailable, continuing without it'
const THERE = 'shared cache connected'

const isUp = async ({ proxy }: Service) => (await proxy.metric('evproxy_shared_cache_up')) === 1

async function start(t: Test, url: string): Promise<Service> {
  return startService(t, { env: { REDIS_URL: url } })
}

/** The reasons of all changes, in order; null for the better ones. */
function changes({ proxy }: Service): (string | null)[] {
  return proxy.logs
    .filter(({ msg }) => msg === AWAY || msg === THERE)
    .map(({ msg, reason }) => (msg === THERE ? null : String(reason)))
}

let asked = 0

/** Requests that need an upstream call are answered as if there were no Redis. */
async function servesAlone(t: Test, service: Service, requests = 5): Promise<void> {
  for (let i = 0; i < requests; i++) {
    const startedAt = performance.now()
    const { status } = await service.get(`chargingAvailability=alone-${asked++}`)
    t.equal(status, 200)
    t.ok(performance.now() - startedAt < NOT_HUNG_MS, 'the request was not delayed')
  }
  t.equal((await service.requestAdmin('/readyz')).status, 200, 'readiness does not depend on Redis')
}

/** Another replica gets this one's answer from Redis. */
async function shares(t: Test, service: Service, url: string): Promise<void> {
  await until('Redis can be reached', () => isUp(service))
  const other = await start(t, url)
  await until('for the other as well', () => isUp(other))
  // Again if a command took too long: an answer is not stored then, or not found.
  await until('the other gets its answer', async () => {
    const id = `shared-${asked++}`
    const before = other.upstream.calls.length
    await service.get(`chargingAvailability=${id}`)
    await other.get(`chargingAvailability=${id}`)
    const hits = await other.proxy.metric('evproxy_shared_cache_requests_total{result="hit"}')
    return hits > 0 && other.upstream.calls.length === before
  })
}

const keepsSecret = (t: Test, { proxy }: Service) => {
  const log = proxy.rawLogs.join('')
  t.notOk(log.includes(PASSWORD) || log.includes(ENCODED), 'the log does not contain the password')
}

await t.test(
  'a service without Redis at its start works alone, and shares once Redis is there',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await RedisServer.reserve(t)
    const service = await start(t, redis.url)
    t.equal(await isUp(service), false)
    await servesAlone(t, service)
    t.strictSame(changes(service), ['no connection (ECONNREFUSED)'])
    t.equal(await service.proxy.metric('evproxy_shared_cache_requests_total{result="error"}'), 0)
    await redis.restart()
    await shares(t, service, redis.url)
    t.strictSame(changes(service), ['no connection (ECONNREFUSED)', null])
  },
)

await t.test('a service whose Redis host does not exist works alone', async (t) => {
  const service = await start(t, 'redis://no-such-host.invalid')
  await servesAlone(t, service)
  t.equal(changes(service).length, 1)
})

await t.test(
  'a service works alone while Redis is killed, and shares again after its restart',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await RedisServer.start(t)
    const service = await start(t, redis.url)
    await shares(t, service, redis.url)
    await redis.kill()
    await servesAlone(t, service)
    t.equal(await isUp(service), false)
    await redis.restart()
    await shares(t, service, redis.url)
    t.equal(changes(service).filter((reason) => reason === null).length, 2)
  },
)

await t.test(
  'a service is not delayed by a Redis that hangs, at its start or later',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await RedisServer.start(t)
    redis.pause()
    const service = await start(t, redis.url)
    await servesAlone(t, service)
    t.strictSame(changes(service), ['a command timed out'])
    redis.resume()
    await shares(t, service, redis.url)

    redis.pause()
    const startedAt = performance.now()
    t.equal((await service.get('chargingAvailability=first')).status, 200)
    const first = performance.now() - startedAt
    t.ok(first < NOT_HUNG_MS, `the first waited ${first} ms`)
    t.equal(await isUp(service), false)
    await servesAlone(t, service)
    redis.resume()
    await shares(t, service, redis.url)
    // The end of a repeated outage is logged when it has been over for a minute.
    t.strictSame(changes(service), ['a command timed out', null, 'a command timed out'])
  },
)

await t.test('a service works alone while Redis is slow', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const link = await slowLink(t, redis.port)
  const url = `redis://127.0.0.1:${link.port}`
  link.delayMs = 10
  const service = await start(t, url)
  await shares(t, service, url)
  link.delayMs = 400
  await servesAlone(t, service)
  t.equal(await isUp(service), false)
  // On a busy machine a command may have timed out before.
  t.strictSame(changes(service).slice(-2), [null, 'a command timed out'])
  link.delayMs = 0
  await shares(t, service, url)
})

await t.test('a service works alone while the memory of Redis is full', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t, ['--maxmemory-policy', 'noeviction'])
  const service = await start(t, redis.url)
  await shares(t, service, redis.url)
  await redis.cli('CONFIG', 'SET', 'maxmemory', '1')
  await servesAlone(t, service)
  t.strictSame(changes(service), [null, 'the memory of the server is full and nothing may be evicted'])
  await redis.cli('CONFIG', 'SET', 'maxmemory', '0')
  await shares(t, service, redis.url)
})

await t.test(
  'a service works alone while its Redis is a read-only replica after a failover',
  { skip: NO_REDIS },
  async (t) => {
    const [redis, primary] = [await RedisServer.start(t), await RedisServer.start(t)]
    const service = await start(t, redis.url)
    await shares(t, service, redis.url)
    await redis.cli('REPLICAOF', '127.0.0.1', String(primary.port))
    await servesAlone(t, service)
    t.equal(await isUp(service), false)
    t.match(changes(service), [null, /read-only|loading|no connection/])
    await redis.cli('REPLICAOF', 'NO', 'ONE')
    await shares(t, service, redis.url)
  },
)

await t.test(
  'a service without the right password works alone and never logs it',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await RedisServer.start(t, ['--requirepass', 'another'])
    for (const [url, reason] of [
      [`redis://:${ENCODED}@127.0.0.1:${redis.port}`, 'the user or the password is wrong'],
      [redis.url, 'a password is required'],
    ] as const) {
      const service = await start(t, url)
      await servesAlone(t, service)
      t.strictSame(changes(service), [reason])
      keepsSecret(t, service)
      if (url === redis.url) continue
      await redis.cli('-a', 'another', 'CONFIG', 'SET', 'requirepass', PASSWORD)
      await shares(t, service, url)
      keepsSecret(t, service)
      await redis.cli('-a', PASSWORD, 'CONFIG', 'SET', 'requirepass', 'another')
    }
  },
)

await t.test('a Redis user needs only the documented rights', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const url = `redis://evproxy:${ENCODED}@127.0.0.1:${redis.port}`
  const rights = [
    'resetkeys',
    '~evproxy:*',
    '&evproxy:*',
    '-@all',
    '+@read',
    '+@write',
    '+@connection',
    '+@scripting',
    '+time',
    '+publish',
    '+subscribe',
  ]
  await redis.cli('ACL', 'SETUSER', 'evproxy', 'on', `>${PASSWORD}`, ...rights)
  const service = await start(t, url)
  await shares(t, service, url)
  const channels = ['evproxy:1:published', 'evproxy:1:purged']
  const both = channels.map((name) => `${name}\n2`).join('\n')
  await until('both replicas listen', async () => (await redis.cli('PUBSUB', 'NUMSUB', ...channels)) === both)
  await redis.cli('ACL', 'SETUSER', 'evproxy', '-set')
  await servesAlone(t, service)
  t.strictSame(changes(service), [null, 'the user may not run a required command'])
  await redis.cli('ACL', 'SETUSER', 'evproxy', '+set')
  await shares(t, service, url)
  keepsSecret(t, service)
})

await t.test('a value of another type instead of an answer is replaced', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const service = await start(t, redis.url)
  await redis.cli('RPUSH', 'evproxy:1:answer:{list}', 'x')
  t.equal((await service.get('chargingAvailability=list')).status, 200)
  t.equal(await service.proxy.metric('evproxy_shared_cache_requests_total{result="error"}'), 1)
  await until('it is replaced', async () => (await redis.cli('TYPE', 'evproxy:1:answer:{list}')) === 'string')
  t.equal(await isUp(service), true, 'one such value is no failure of the server')
})

await t.test('a service uses the database that its URL names', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const service = await start(t, `${redis.url}/5`)
  await shares(t, service, `${redis.url}/5`)
  t.equal(await redis.cli('DBSIZE'), '0')
})

/* Both are empty while the server closes its connections, as it does when its role changes. */
const replication = (server: RedisServer) => server.cli('INFO', 'replication').catch(() => '')
const keysOf = (server: RedisServer) => server.cli('-n', '3', 'KEYS', '*').catch(() => '')

await t.test('a service follows a failover by Sentinel', { skip: NO_REDIS }, async (t) => {
  const [one, two] = [await RedisServer.start(t), await RedisServer.start(t)]
  await two.cli('REPLICAOF', '127.0.0.1', String(one.port))
  const sentinel = await RedisServer.sentinel(t, 'the-primary', one.port)
  const url = `redis+sentinel://127.0.0.1:${await freePort()},127.0.0.1:${sentinel.port}/the-primary/3`
  const service = await start(t, url)
  await shares(t, service, url)
  t.match(await one.cli('-n', '3', 'KEYS', '*'), 'evproxy:1:')
  await until('the replica follows', async () => /master_link_status:up/.test(await replication(two)))
  await until('the sentinel knows it', async () =>
    /slave0|num-slaves\n1/.test(await sentinel.cli('SENTINEL', 'MASTER', 'the-primary')),
  )
  await one.kill()
  await servesAlone(t, service)
  await until('a failover', async () => /role:master/.test(await replication(two)), 30_000)
  await shares(t, service, url)
  await until('the new primary has the keys', async () => (await keysOf(two)).includes('evproxy:1:'))
})

await t.test('a service shares through a Redis cluster', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t, ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'])
  const url = `redis+cluster://127.0.0.1:${await freePort()},127.0.0.1:${redis.port}`
  const service = await start(t, url)
  await servesAlone(t, service)
  t.equal(changes(service).length, 1)
  await redis.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await shares(t, service, url)
})

await t.test('TLS to Redis', { skip: NO_REDIS || missing('openssl') }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'evproxy-tls-'))
  const built = await build()
  t.teardown(() => {
    rmSync(dir, { recursive: true, force: true })
    rmSync(built, { recursive: true, force: true })
  })
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  const request = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ]
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert]
  const tlsPort = await freePort()
  const redis = await RedisServer.start(t, [
    ...files,
    '--tls-auth-clients',
    'no',
    '--tls-port',
    String(tlsPort),
  ])
  await redis.cli('CONFIG', 'SET', 'requirepass', PASSWORD)
  const url = `rediss://:${ENCODED}@localhost:${tlsPort}`

  await t.test('a service rejects a certificate that is not trusted', async (t) => {
    const service = await start(t, url)
    await servesAlone(t, service)
    t.match(changes(service), [/^no connection \(\w*CERT\w*\)$/])
    keepsSecret(t, service)
  })

  await t.test('a service shares over TLS with a trusted certificate', async (t) => {
    const upstream = await ScriptedUpstream.start()
    t.teardown(() => upstream.stop())
    const empty = join(dir, 'empty')
    writeFileSync(empty, '')
    const service = new Process(built, {
      TOMTOM_API_KEY: TEST_KEY,
      TOMTOM_BASE_URL: upstream.origin,
      HOST: '127.0.0.1',
      PORT: '0',
      ADMIN_PORT: '0',
      REDIS_URL: url,
      NODE_EXTRA_CA_CERTS: cert,
    })
    t.teardown(async () => {
      service.child.kill('SIGKILL')
      await service.exited
    })
    await service.logged(THERE)
    const { settings } = (await service.logged('started')) as { settings: Record<string, string> }
    t.equal(settings['REDIS_URL'], `localhost:${tlsPort}`)
    t.notOk(service.stdout.includes(PASSWORD) || service.stdout.includes(ENCODED))
  })
})

await t.test('a service without REDIS_URL has no gauge for Redis, and counters at 0', async (t) => {
  const { requestAdmin } = await startService(t)
  const { text } = await requestAdmin('/metrics')
  t.notMatch(text, /^evproxy_shared_cache_up /m)
  for (const result of ['hit', 'miss', 'error']) {
    t.match(text, new RegExp(`^evproxy_shared_cache_requests_total{result="${result}"} 0$`, 'm'))
  }
})
