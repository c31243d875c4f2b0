import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import type { Balancer, Replica } from '../support/balancer.ts'
import { HAPROXY, NGINX, startHaproxy, startNginx } from '../support/balancer.ts'
import type { Proxy } from '../support/proxy.ts'
import { missing } from '../support/requirements.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'

const BALANCERS = [
  ['nginx', NGINX, startNginx],
  ['HAProxy', HAPROXY, startHaproxy],
] as const
const ENV = { CLIENT_RATE_LIMIT: '1000', TRUSTED_PROXIES: '127.0.0.1' }
const ROUTE = '/search/2/chargingAvailability.json?chargingAvailability='

const addressesOf = ({ url, adminUrl }: Proxy): Replica => ({
  public: url.replace('http://', ''),
  admin: adminUrl.replace('http://', ''),
})

/** Statuses of that many requests, one after the other. */
async function statuses(url: string, count: number): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < count; i++) {
    const response = await fetch(`${url}${ROUTE}station-${i}`)
    await response.arrayBuffer()
    found.push(response.status)
  }
  return found
}

async function twoReplicas(t: Test) {
  const [a, b] = await Promise.all([startService(t, { env: ENV }), startService(t, { env: ENV })])
  return { a, b, addresses: [addressesOf(a.proxy), addressesOf(b.proxy)] as const }
}

/** A replica whose /events has one event and then nothing; its other routes are 200. */
async function startStream(t: Test): Promise<Replica> {
  const server = createServer(({ url }, response) => {
    if (url !== '/events') return response.end()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    return response.write('event: availability\ndata: {}\n\n')
  }).listen(0, '127.0.0.1')
  await until('the stream listens', () => server.listening)
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { public: address, admin: address }
}

async function firstEvent({ url }: Balancer): Promise<string> {
  const aborter = new AbortController()
  const { body } = await fetch(`${url}/events`, { signal: aborter.signal })
  const { value } = (await body?.getReader().read()) ?? {}
  aborter.abort()
  return Buffer.from((value as Uint8Array | undefined) ?? []).toString()
}

for (const [name, program, start] of BALANCERS) {
  await t.test(`${name} in front of two replicas`, { skip: missing(program) }, async (t) => {
    const { a, b, addresses } = await twoReplicas(t)
    const { url, log } = await start(t, addresses)

    await t.test(
      `${name} forwards the proxied route, with and without a prefix, and no documentation`,
      async (t) => {
        const answer = await fetch(`${url}${ROUTE}a&key=secret-of-a-client`)
        t.match(answer.headers.get('cache-status'), 'ev-availability-proxy')
        const paths = [`/ev${ROUTE}a`, '/healthz', '/docs', '/openapi.yaml', '/ev/docs']
        const found = await Promise.all(paths.map(async (path) => (await fetch(url + path)).status))
        t.strictSame([answer.status, ...found], [200, 200, 200, 404, 404, 404])
      },
    )

    await t.test(`the access log of ${name} contains no key of a client`, async (t) => {
      await until('the log has the request', () => log().includes('chargingAvailability.json'))
      t.notMatch(log(), 'secret-of-a-client')
    })

    await t.test(`${name} uses both replicas`, async (t) => {
      t.strictSame(new Set(await statuses(url, 10)), new Set([200]))
      t.ok(a.upstream.calls.length > 0 && b.upstream.calls.length > 0)
    })

    await t.test(`behind ${name} no request is lost when a replica has stopped`, async (t) => {
      await a.proxy.stop()
      t.strictSame(new Set(await statuses(url, 20)), new Set([200]))
    })
  })

  await t.test(`${name} forwards an event at once`, { skip: missing(program) }, async (t) => {
    const replica = await startStream(t)
    const balancer = await start(t, [replica, await startStream(t)])
    t.equal(await firstEvent(balancer), 'event: availability\ndata: {}\n\n')
  })
}
