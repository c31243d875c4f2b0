/* The service behind an outbound proxy: as a process, because Node reads NODE_EXTRA_CA_CERTS only at the start. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { startOutboundProxy } from '../support/outbound-proxy.ts'
import { build, Process } from '../support/process.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { pathFor, request } from '../support/request.ts'
import { selfSigned } from '../support/self-signed.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { until } from '../support/until.ts'

const dir = await build()
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

/** An https upstream with a certificate that only its file makes trusted. */
async function startTlsUpstream(t: Test) {
  const identity = selfSigned()
  const folder = mkdtempSync(join(tmpdir(), 'evproxy-ca-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const caFile = join(folder, 'ca.pem')
  writeFileSync(caFile, identity.cert)
  const targets: string[] = []
  const server = createTlsServer(identity, (incoming, response) => {
    targets.push(incoming.url ?? '')
    const id = new URL(incoming.url ?? '', 'https://upstream').searchParams.get('chargingAvailability') ?? ''
    response.end(JSON.stringify(referenceStation(id)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { origin: `https://localhost:${(server.address() as AddressInfo).port}`, caFile, targets }
}

async function launch(t: Test, environment: Record<string, string>) {
  const service = new Process(dir, {
    TOMTOM_API_KEY: TEST_KEY,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    ...environment,
  })
  t.teardown(async () => {
    service.child.kill('SIGKILL')
    await service.exited
  })
  const { url, adminUrl } = await service.urls()
  const get = (id: string) => request(url, pathFor(`chargingAvailability=${id}`))
  return { service, get, adminUrl }
}

await t.test('an https upstream with a private certificate authority', async (t) => {
  const upstream = await startTlsUpstream(t)

  await t.test('it is trusted through NODE_EXTRA_CA_CERTS alone', async (t) => {
    const env = { TOMTOM_BASE_URL: upstream.origin }
    const trusting = await launch(t, { ...env, NODE_EXTRA_CA_CERTS: upstream.caFile })
    t.equal((await trusting.get('a')).status, 200)
    t.equal((await (await launch(t, env)).get('a')).status, 502)
  })

  await t.test('a call goes through the proxy, which never sees the key', async (t) => {
    const proxy = await startOutboundProxy(t)
    const { service, get } = await launch(t, {
      TOMTOM_BASE_URL: upstream.origin,
      NODE_EXTRA_CA_CERTS: upstream.caFile,
      https_proxy: `http://user:pass-word@127.0.0.1:${proxy.port}`,
      HTTP_PROXY: 'http://192.0.2.1:1',
    })
    t.equal((await get('b')).status, 200)
    t.match(upstream.targets.at(-1), TEST_KEY, 'upstream gets the key')
    t.equal(proxy.heads.length, 1)
    t.match(proxy.heads[0], `proxy-authorization: Basic ${btoa('user:pass-word')}`)
    t.ok(proxy.sent.length > 0)
    t.notMatch(proxy.heads.join('') + proxy.sent, TEST_KEY)
    const { settings } = (await service.logged('started')) as { settings: Record<string, string> }
    t.equal(settings['HTTPS_PROXY'], `http://********@127.0.0.1:${proxy.port}`)
    t.notMatch(service.stdout, /pass-word/)
  })

  await t.test('NO_PROXY names an upstream that is called directly', async (t) => {
    const proxy = await startOutboundProxy(t, 407)
    const { get } = await launch(t, {
      TOMTOM_BASE_URL: upstream.origin,
      NODE_EXTRA_CA_CERTS: upstream.caFile,
      HTTPS_PROXY: proxy.url,
      NO_PROXY: 'example.com,localhost',
    })
    t.equal((await get('c')).status, 200)
    t.equal(proxy.heads.length, 0)
  })
})

await t.test('a proxy that rejects calls', async (t) => {
  for (const behaviour of [407, 502, 'close', 'hang'] as const) {
    await t.test(`the response is a 502, and the quota is untouched (${behaviour})`, async (t) => {
      const outbound = await startOutboundProxy(t, behaviour)
      const env = { HTTP_PROXY: outbound.url, UPSTREAM_QUOTA: '100/day', UPSTREAM_TIMEOUT: '300ms' }
      const { get, proxy, upstream, requestAdmin } = await startService(t, { env })
      const startedAt = performance.now()
      const response = await get('chargingAvailability=a')
      t.ok(performance.now() - startedAt < 2_000)
      t.equal(response.status, 502)
      t.match(response.text, /UpstreamFailed/)
      t.notMatch(response.text, /127\.0\.0\.1/, 'the client learns nothing of the proxy')
      t.equal(upstream.calls.length, 0)
      t.equal(await proxy.metric('evproxy_quota_remaining'), 100)
      t.equal(await proxy.metric('evproxy_upstream_requests_total{outcome="network"}'), 1)
      const line = proxy.logs.find(({ msg }) => msg === 'request failed')
      t.match(line?.['reason'], new RegExp(`outbound proxy ${outbound.url}`))
      t.match((await requestAdmin('/status')).text, new RegExp(`outbound proxy ${outbound.url}`))
    })
  }
})

await t.test('Redis is never reached through the proxy', { skip: NO_REDIS }, async (t) => {
  const [outbound, redis] = [await startOutboundProxy(t), await RedisServer.start(t)]
  const env = { HTTP_PROXY: outbound.url, HTTPS_PROXY: outbound.url, REDIS_URL: redis.url }
  const { get, upstream, proxy } = await startService(t, { env })
  t.equal((await get('chargingAvailability=a')).status, 200)
  await until('Redis is connected', async () => (await proxy.metric('evproxy_shared_cache_up')) === 1)
  t.strictSame(
    outbound.heads.map((head) => head.split(' ')[1]),
    [`127.0.0.1:${upstream.port}`],
  )
})
