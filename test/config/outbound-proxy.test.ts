import t from 'tap'
import type { Environment } from '../../src/config/load.ts'
import { chooseOutboundProxy } from '../../src/config/outbound-proxy.ts'
import { load, problems } from './support.ts'

const HTTPS = 'https://api.tomtom.com'
const PROXY = 'http://proxy.example:3128'
const chosen = (environment: Environment, baseUrl = HTTPS) => chooseOutboundProxy(environment, baseUrl)
const nameOf = (environment: Environment, baseUrl = HTTPS) => chosen(environment, baseUrl).proxy?.name ?? null

await t.test(
  'HTTPS_PROXY is for https upstreams and HTTP_PROXY for http upstreams, in either case',
  async (t) => {
    const http = 'http://gateway.example'
    t.strictSame(
      [
        nameOf({ HTTPS_PROXY: PROXY }),
        nameOf({ https_proxy: PROXY }),
        nameOf({ https_proxy: PROXY, HTTPS_PROXY: 'http://other.example' }),
        nameOf({ https_proxy: '', HTTPS_PROXY: PROXY }),
        nameOf({ HTTP_PROXY: PROXY }, http),
        nameOf({ http_proxy: PROXY }, http),
      ],
      Array.from({ length: 6 }, () => PROXY),
    )
    t.strictSame(
      [nameOf({}), nameOf({ HTTP_PROXY: PROXY }), nameOf({ HTTPS_PROXY: PROXY }, http)],
      [null, null, null],
    )
  },
)

await t.test('the URL of a proxy has a host, a port and credentials', async (t) => {
  const parse = (text: string) => chosen({ HTTPS_PROXY: text }).proxy
  t.strictSame(parse('http://u%40x:p%3Aw@proxy.example:3128/'), {
    host: 'proxy.example',
    port: 3_128,
    tls: false,
    authorization: `Basic ${Buffer.from('u@x:p:w').toString('base64')}`,
    name: PROXY,
  })
  t.match(parse('proxy.example:3128'), {
    host: 'proxy.example',
    port: 3_128,
    tls: false,
    authorization: null,
  })
  t.match(parse('https://proxy.example'), { port: 443, tls: true })
  t.match(parse('http://[::1]:8080'), { host: '::1', port: 8_080, name: 'http://[::1]:8080' })
  t.match(parse('http://token@proxy.example'), { port: 80, authorization: `Basic ${btoa('token:')}` })
})

await t.test('an invalid proxy is a problem that repeats nothing of its URL', async (t) => {
  const invalid = ['socks5://user:hidden@proxy', 'http://', 'http://a b', 'http://u:%zz@proxy', 'ftp://proxy']
  const found = invalid.map((text) =>
    problems({ TOMTOM_API_KEY: 'a-key-0123456789abcdef', HTTPS_PROXY: text }),
  )
  t.strictSame(
    found,
    invalid.map(() => [
      'HTTPS_PROXY: expected the URL of an HTTP proxy, such as http://user:password@proxy.example:3128, got something else',
    ]),
  )
})

await t.test('the proxy in force is in the effective settings, with masked credentials', async (t) => {
  const config = load({ HTTPS_PROXY: 'http://user:hidden@proxy.example:3128', no_proxy: 'redis,10.0.0.0/8' })
  t.match(config.effective, {
    HTTPS_PROXY: 'http://********@proxy.example:3128',
    NO_PROXY: 'redis,10.0.0.0/8',
  })
  t.notMatch(JSON.stringify(config.effective), 'hidden')
  t.strictSame(load({ HTTP_PROXY: PROXY }).effective['HTTP_PROXY'], undefined)
})

await t.test(
  'NO_PROXY is a list of hosts with their subdomains, ports, addresses and networks',
  async (t) => {
    const cases: [noProxy: string, baseUrl: string, isDirect: boolean][] = [
      ['*', HTTPS, true],
      ['api.tomtom.com', HTTPS, true],
      ['API.TomTom.com', HTTPS, true],
      ['tomtom.com', HTTPS, true],
      ['.tomtom.com', HTTPS, true],
      ['*.tomtom.com', HTTPS, true],
      ['localhost, tomtom.com', HTTPS, true],
      ['localhost tomtom.com', HTTPS, true],
      ['tomtom.com:443', HTTPS, true],
      ['tomtom.com:8443', HTTPS, false],
      ['xtomtom.com', HTTPS, false],
      ['om.com', HTTPS, false],
      ['', HTTPS, false],
      ['127.0.0.1', 'https://127.0.0.1:8443', true],
      ['10.0.0.0/8', 'https://10.1.2.3', true],
      ['10.0.0.0/8', 'https://11.1.2.3', false],
      ['10.0.0.0/33', 'https://10.1.2.3', false],
      ['fd00::/8', 'https://[fd00::1]:443', true],
      ['fd00::/8', 'https://10.0.0.1', false],
      ['::1', 'https://[::1]', true],
      ['[::1]:8443', 'https://[::1]:8443', true],
      ['[::1]:8443', 'https://[::1]', false],
      ['2001:DB8:0::1', 'https://[2001:db8::1]', true],
      ['[2001:db8:0:0::1]:443', 'https://[2001:db8::1]', true],
      ['fe80::1%eth0, ::1', 'https://[::1]', true],
      ['api.tomtom.com.', HTTPS, true],
      ['tomtom.com.:443', HTTPS, true],
      ['api.tomtom.com', 'https://api.tomtom.com.', true],
      ['.', HTTPS, false],
    ]
    t.strictSame(
      cases.map(([NO_PROXY, baseUrl]) => [
        NO_PROXY,
        baseUrl,
        nameOf({ HTTPS_PROXY: PROXY, NO_PROXY }, baseUrl) === null,
      ]),
      cases,
    )
  },
)
