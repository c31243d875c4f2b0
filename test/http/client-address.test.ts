import t from 'tap'
import { clientAddress, describeAddress } from '../../src/http/client-address.ts'

const NETWORKS: readonly (readonly [address: string, network: string])[] = [
  ['203.0.113.77', '203.0.113.0/24'],
  ['::ffff:203.0.113.77', '203.0.113.0/24'],
  ['2001:db8:12:3456::1', '2001:db8:12::/48'],
  ['2001:DB8::1', '2001:db8:0::/48'],
  ['2001::1:2:3:4:5:6', '2001:0:1::/48'],
  ['::1', '0:0:0::/48'],
  ['1:2:3:4:5:6:7:8', '1:2:3::/48'],
  ['2001:db8:aaaa:bbbb:cccc:dddd:1.2.3.4', '2001:db8:aaaa::/48'],
  ['fe80::1%eth0', 'fe80:0:0::/48'],
]

await t.test('a truncated address is its /24 or /48 network', async (t) => {
  t.strictSame(
    NETWORKS.map(([address]) => [address, describeAddress(address, 'truncated')]),
    NETWORKS,
  )
})

await t.test('a full address is plain, and off is none', async (t) => {
  t.equal(describeAddress('::ffff:203.0.113.77', 'full'), '203.0.113.77')
  t.equal(describeAddress('2001:db8::1', 'full'), '2001:db8::1')
  t.equal(describeAddress('203.0.113.77', 'off'), null)
  t.strictSame([describeAddress('unknown', 'full'), describeAddress(undefined, 'full')], [null, null])
})

await t.test('an invalid forwarded address is replaced by that of the connection', async (t) => {
  const socket = { remoteAddress: '203.0.113.77' }
  t.equal(clientAddress({ ip: 'unknown', socket }, 'full'), '203.0.113.77')
  t.equal(clientAddress({ ip: '198.51.100.1', socket }, 'full'), '198.51.100.1')
  t.equal(clientAddress({ ip: '198.51.100.1', socket }, 'off'), null)
})
