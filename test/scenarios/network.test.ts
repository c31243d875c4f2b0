/* Networks that a machine of a developer does not have, each in a namespace of its own. */
import { readFileSync, rmSync } from 'node:fs'
import t from 'tap'
import {
  DISTANCE_MS,
  DISTANT,
  DISTANT_NETWORK,
  NO_DISTANT_NETWORK,
  SILENT,
  START_DISTANT_NETWORK,
} from '../support/distant-network.ts'
import { inNamespace, noNamespace } from '../support/namespace.ts'
import { build } from '../support/process.ts'

const ROUTE = '/search/2/chargingAvailability.json?chargingAvailability'
const skip = noNamespace()
const dir = skip === false ? await build() : ''
t.teardown(() => skip === false && rmSync(dir, { recursive: true, force: true }))

/** The command of the image's health check. */
function healthCheck(): string {
  const text = readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')
  const [, , script = ''] = JSON.parse(/HEALTHCHECK[^[]*CMD (\[.*\])/.exec(text)?.[1] ?? '[]') as string[]
  return script
}

await t.test('with IPv6 only, the defaults and the probe of the image work', { skip }, async (t) => {
  const result = await inNamespace({
    setup: ['ip addr del 127.0.0.1/8 dev lo'],
    hosts: ['::1 localhost', '::1 upstream.example'],
    dir,
    env: { ADMIN_HOST: '::' },
    script: `
      const { execFileSync } = await import('node:child_process')
      const health = () => execFileSync(process.execPath, ['-e', ${JSON.stringify(healthCheck())}])
      health() // throws for another exit code than 0
      return [
        (await request('http://[::1]:8080${ROUTE}=a')).status,
        (await request('http://[::1]:8081/readyz')).status,
        (await request('http://localhost:8080/healthz')).status,
        upstream.calls,
      ]`,
  })
  t.strictSame(result, [200, 200, 200, 1])
})

await t.test('without IPv6, `::` is 0.0.0.0', { skip }, async (t) => {
  const result = await inNamespace({
    setup: ['sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1 || true'],
    hosts: ['127.0.0.1 localhost', '127.0.0.1 upstream.example'],
    dir,
    env: { ADMIN_HOST: '::' },
    script: `
      return [
        (await request('http://127.0.0.1:8080${ROUTE}=a')).status,
        (await request('http://127.0.0.1:8081/readyz')).status,
      ]`,
  })
  t.strictSame(result, [200, 200])
})

/** An interface with addresses of both families: getaddrinfo returns no address of a family that the machine lacks. */
const BOTH_FAMILIES = [
  'ip link add hole type veth peer name peer',
  'ip addr add 10.9.0.1/24 dev hole',
  'ip link set peer up',
  'ip link set hole up',
]
/** Nobody answers for 2001:db8::2, which is preferred to IPv4 (RFC 6724). */
const BLACK_HOLE = [...BOTH_FAMILIES, 'ip -6 addr add 2001:db8::1/64 dev hole nodad']
const noBlackHole = noNamespace(...BLACK_HOLE)

await t.test(
  'an address that does not answer has a second, then the next is used',
  { skip: noBlackHole },
  async (t) => {
    const result = (await inNamespace({
      setup: BLACK_HOLE,
      hosts: ['127.0.0.1 localhost', '2001:db8::2 upstream.example', '127.0.0.1 upstream.example'],
      dir,
      script: `return request('http://127.0.0.1:8080${ROUTE}=a')`,
    })) as { status: number; ms: number }
    t.equal(result.status, 200)
    t.ok(result.ms >= 950 && result.ms < 2_900, `${result.ms} ms`)
  },
)

await t.test(
  'a family of addresses without a route does not prevent calls',
  { skip: noBlackHole },
  async (t) => {
    const result = await inNamespace({
      setup: BOTH_FAMILIES,
      hosts: ['127.0.0.1 localhost', '2001:db8::1 upstream.example', '127.0.0.1 upstream.example'],
      dir,
      script: `return (await request('http://127.0.0.1:8080${ROUTE}=a')).status`,
    })
    t.equal(result, 200)
  },
)

await t.test('if no address can be reached, the log names those that were tried', { skip }, async (t) => {
  const result = await inNamespace({
    setup: [],
    hosts: ['127.0.0.1 localhost', '2001:db8::1 upstream.example', '192.0.2.1 upstream.example'],
    dir,
    script: `
      const { status } = await request('http://127.0.0.1:8080${ROUTE}=a')
      return { status, reason: (await logged('request failed')).reason }`,
  })
  t.match(result, { status: 502, reason: /192\.0\.2\.1 port 9000: ENETUNREACH/ })
  t.match(result, { reason: /2001:db8::1 port 9000: ENETUNREACH/ })
})

/** The family by which Node itself connects if each address but the last one has so long. */
const CONTROL = `
  const { connect } = await import('node:net')
  const connects = (autoSelectFamilyAttemptTimeout) =>
    new Promise((resolve) => {
      const socket = connect({ host: 'upstream.example', port: 9000, autoSelectFamily: true, autoSelectFamilyAttemptTimeout })
      socket.on('error', resolve).on('connect', () => {
        resolve(socket.remoteFamily)
        socket.destroy()
      })
    })
  const control = [await connects(250), await connects(1_000)]
`

await t.test(
  'an upstream with several addresses at a distance of 300 ms is reached at the first',
  { skip: NO_DISTANT_NETWORK },
  async (t) => {
    const result = await inNamespace({
      setup: DISTANT_NETWORK,
      hosts: ['127.0.0.1 localhost', `${DISTANT.ipv6} upstream.example`, `${DISTANT.ipv4} upstream.example`],
      dir,
      script: `${START_DISTANT_NETWORK} ${CONTROL}
        const { status, ms } = await request('http://127.0.0.1:8080${ROUTE}=a')
        return { control, status, isDistant: ms >= ${4 * DISTANCE_MS}, families: [...new Set(upstream.families)] }`,
    })
    t.strictSame(result, { control: ['IPv4', 'IPv6'], status: 200, isDistant: true, families: ['IPv6'] })
  },
)

await t.test(
  'every address has a second, and the last one is reached at a distance of 300 ms',
  { skip: NO_DISTANT_NETWORK },
  async (t) => {
    const result = (await inNamespace({
      setup: DISTANT_NETWORK,
      hosts: [
        '127.0.0.1 localhost',
        `${SILENT.ipv6} upstream.example`,
        `${SILENT.ipv4} upstream.example`,
        `${DISTANT.ipv4} upstream.example`,
      ],
      dir,
      env: { UPSTREAM_TIMEOUT: '10s' },
      script: `${START_DISTANT_NETWORK} return request('http://127.0.0.1:8080${ROUTE}=a')`,
    })) as { status: number; ms: number }
    t.equal(result.status, 200)
    t.ok(result.ms >= 2 * 950 + 4 * DISTANCE_MS && result.ms < 5_000, `${result.ms} ms`)
  },
)
