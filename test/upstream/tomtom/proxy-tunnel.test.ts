import type { Test } from 'tap'
import t from 'tap'
import { systemClock } from '../../../src/lib/clock.ts'
import type { UpstreamError } from '../../../src/upstream/outcomes.ts'
import { createTomTom } from '../../../src/upstream/tomtom/client.ts'
import { startOutboundProxy } from '../../support/outbound-proxy.ts'
import { ScriptedUpstream } from '../../support/scripted-upstream.ts'
import { CALLER } from '../doubles.ts'

const KEY = 'key-0123456789'

async function behindProxy(
  t: Test,
  {
    port,
    authorization = null,
    timeoutMs = 5_000,
    maxConnections = 16,
    baseUrl = '',
  }: {
    readonly port: number
    readonly authorization?: string | null
    readonly timeoutMs?: number
    readonly maxConnections?: number
    readonly baseUrl?: string
  },
) {
  const upstream = await ScriptedUpstream.start()
  t.teardown(() => upstream.stop())
  const outcomes: string[] = []
  const { source, close } = createTomTom(
    {
      baseUrl: baseUrl || upstream.origin,
      timeoutMs,
      maxConnections,
      userAgent: 'test',
      proxy: { host: '127.0.0.1', port, tls: false, authorization, name: `http://127.0.0.1:${port}` },
    },
    { apiKey: () => KEY, clock: systemClock, observer: { upstreamAnswered: (o) => void outcomes.push(o) } },
  )
  t.teardown(() => close())
  const fail = () =>
    source('a', CALLER).then(
      () => {
        throw new Error('the call succeeded')
      },
      (error: unknown) => error as UpstreamError,
    )
  return { upstream, outcomes, ask: (id = 'a') => source(id, CALLER), fail }
}

await t.test('a call goes through a tunnel that is opened once and reused', async (t) => {
  const proxy = await startOutboundProxy(t)
  const { upstream, ask } = await behindProxy(t, {
    port: proxy.port,
    authorization: 'Basic dTpw',
    maxConnections: 1,
  })
  await ask('a')
  await ask('b')
  const authority = `127.0.0.1:${upstream.port}`
  t.equal(upstream.calls.length, 2)
  t.strictSame(proxy.heads.length, 1)
  const lines = proxy.heads[0]?.split('\r\n') ?? []
  t.equal(lines[0], `CONNECT ${authority} HTTP/1.1`)
  t.ok(lines.includes(`host: ${authority}`))
  t.ok(lines.includes('proxy-authorization: Basic dTpw'))
  t.notOk(
    'proxy-authorization' in (upstream.calls[0]?.headers ?? {}),
    'upstream gets no credentials of the proxy',
  )
})

await t.test('the number of tunnels is limited like that of connections', async (t) => {
  const proxy = await startOutboundProxy(t)
  const { upstream, ask } = await behindProxy(t, { port: proxy.port, maxConnections: 2 })
  await Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => ask(id)))
  t.strictSame([upstream.calls.length, proxy.heads.length], [5, 2])
})

const REJECTIONS = [
  [407, /responded 407 to CONNECT/],
  [502, /responded 502 to CONNECT/],
  ['close', /closed the connection/],
] as const

for (const [behaviour, reason] of REJECTIONS) {
  await t.test(
    `a proxy that rejects CONNECT (${behaviour}) is a network error that was not sent`,
    async (t) => {
      const proxy = await startOutboundProxy(t, behaviour)
      const { upstream, outcomes, fail } = await behindProxy(t, { port: proxy.port })
      const error = await fail()
      t.match(error, { outcome: 'network', code: 'UpstreamFailed', sent: false, isTransient: false })
      t.match(error.reason, reason)
      t.match(error.reason, `http://127.0.0.1:${proxy.port}`)
      t.strictSame(outcomes, ['network'])
      t.equal(upstream.calls.length, 0)
    },
  )
}

await t.test('a proxy that cannot be connected to is named in the error', async (t) => {
  const { fail } = await behindProxy(t, { port: 1 })
  const error = await fail()
  t.match(error, { outcome: 'network', sent: false })
  t.match(error.reason, /outbound proxy http:\/\/127\.0\.0\.1:1 cannot be used \(ECONNREFUSED\)/)
})

await t.test('the deadline of a call ends a CONNECT that hangs, which is a network error', async (t) => {
  const proxy = await startOutboundProxy(t, 'hang')
  const { fail } = await behindProxy(t, { port: proxy.port, timeoutMs: 200 })
  const startedAt = performance.now()
  const errors = await Promise.all([fail(), fail()])
  const took = performance.now() - startedAt
  t.ok(took > 150 && took < 1_500, `${took} ms`)
  t.match(errors, [
    { outcome: 'network', sent: false, reason: /did not respond to CONNECT in time/ },
    { outcome: 'network', sent: false },
  ])
})

await t.test('calls recover as soon as the proxy opens tunnels again', async (t) => {
  const proxy = await startOutboundProxy(t, 407)
  const { upstream, ask, fail } = await behindProxy(t, { port: proxy.port })
  await fail()
  proxy.behaviour = 'tunnel'
  await ask()
  t.equal(upstream.calls.length, 1)
})

await t.test('a base URL with a path precedes the path of the endpoint', async (t) => {
  const proxy = await startOutboundProxy(t)
  const upstream = await ScriptedUpstream.start()
  t.teardown(() => upstream.stop())
  const { ask } = await behindProxy(t, { port: proxy.port, baseUrl: `${upstream.origin}/gateway/v1` })
  await ask()
  t.equal(upstream.calls[0]?.url.pathname, '/gateway/v1/search/2/chargingAvailability.json')
})
