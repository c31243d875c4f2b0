import type { Test } from 'tap'
import t from 'tap'
import type { SettingType } from '../../src/config/types.ts'
import * as types from '../../src/config/types.ts'
import { accepted, parsed } from './support.ts'

/** Valid texts have these values; invalid texts have none. */
function accepts<T>(
  t: Test,
  type: SettingType<T>,
  valid: readonly (readonly [string, T])[],
  invalid: readonly string[],
) {
  const texts = valid.map(([text]) => text)
  t.strictSame(parsed(type, texts), valid, 'valid texts')
  t.strictSame(accepted(type, invalid), [], 'invalid texts')
}

await t.test('a port is a whole number from 0 to 65535', async (t) => {
  accepts(
    t,
    types.port,
    [
      ['0', 0],
      ['1', 1],
      ['65534', 65_534],
      ['65535', 65_535],
    ],
    ['65536', '-1', '80.0', '8e3', '0x50', ' 80', '80 ', '80\n', 'http', '', '9'.repeat(30), '٨٠'],
  )
})

await t.test('a duration is a whole number with a unit, or 0, within its bounds', async (t) => {
  const upToAnHour = types.duration(0, 3_600_000)
  accepts(
    t,
    upToAnHour,
    [
      ['0', 0],
      ['0s', 0],
      ['1ms', 1],
      ['500ms', 500],
      ['30s', 30_000],
      ['5m', 300_000],
      ['1h', 3_600_000],
      ['3599999ms', 3_599_999],
      ['60m', 3_600_000],
    ],
    [
      '3600001ms',
      '61m',
      '2h',
      '30',
      '00',
      '1',
      '1.5s',
      '-1s',
      '+1s',
      '1 s',
      '1S',
      '1M',
      '1d',
      's',
      '1s1',
      '1e3s',
      'Infinity',
      '',
      `${'9'.repeat(10)}h`,
    ],
  )
  const bounded = types.duration(10, 300_000)
  accepts(
    t,
    bounded,
    [
      ['10ms', 10],
      ['11ms', 11],
      ['5m', 300_000],
    ],
    ['9ms', '0', '0ms', '300001ms', '301s'],
  )
  t.match(bounded.expected, 'a duration from 10ms to 5m')
  t.match(types.duration(0, 86_400_000).expected, 'a duration from 0 to 24h')
  t.match(types.duration(1_500, 90_000).expected, 'a duration from 1500ms to 90s')
})

await t.test('a count is a whole number within its bounds', async (t) => {
  accepts(
    t,
    types.count(1, 1_000),
    [
      ['1', 1],
      ['2', 2],
      ['999', 999],
      ['1000', 1_000],
      ['0007', 7],
    ],
    ['0', '1001', '-1', '1.0', '1k', '1_000', '1,000', '', 'NaN', 'Infinity', '1e2'],
  )
})

await t.test('a rate is a decimal number from 0 to 100000', async (t) => {
  accepts(
    t,
    types.rate,
    [
      ['0', 0],
      ['5', 5],
      ['0.5', 0.5],
      ['0.000001', 0.000001],
      ['99999.999999', 99_999.999999],
      ['100000', 100_000],
    ],
    ['100000.000001', '100001', '-1', '.5', '5.', '1e2', '0.0000001', '5/s', '', 'NaN', 'Infinity'],
  )
})

await t.test('a size is a number of bytes, or of KB, MB or GB as powers of 1024', async (t) => {
  const size = types.size(65_536, 2 * 1024 ** 3)
  accepts(
    t,
    size,
    [
      ['65536', 65_536],
      ['65536B', 65_536],
      ['64KB', 65_536],
      ['65537', 65_537],
      ['256MB', 268_435_456],
      ['2GB', 2_147_483_648],
      ['2147483647', 2_147_483_647],
    ],
    [
      '65535',
      '63KB',
      '2147483649',
      '3GB',
      '0',
      '1.5GB',
      '256mb',
      '256M',
      '256 MB',
      '-1',
      'MB',
      '',
      '1e9',
      '1TB',
    ],
  )
  t.match(size.expected, 'from 65536 bytes to 2GB')
})

await t.test('a flag is true or false, and no inherited property name is valid', async (t) => {
  accepts(
    t,
    types.flag,
    [
      ['true', true],
      ['false', false],
    ],
    ['TRUE', 'yes', 'no', '1', '0', 'on', '', ' true', 'toString', 'constructor', '__proto__', 'valueOf'],
  )
})

await t.test('a choice is one of its list', async (t) => {
  accepts(
    t,
    types.oneOf('a', 'b'),
    [
      ['a', 'a'],
      ['b', 'b'],
    ],
    ['c', 'A', '', 'a,b', 'constructor'],
  )
})

await t.test('a host is a name or an IP address of up to 255 characters', async (t) => {
  accepts(
    t,
    types.host,
    [
      ['0.0.0.0', '0.0.0.0'],
      ['::1', '::1'],
      ['localhost', 'localhost'],
      ['my-host_1.example', 'my-host_1.example'],
      ['a'.repeat(255), 'a'.repeat(255)],
    ],
    ['', 'a'.repeat(256), 'a b', 'http://a', 'a/b', 'a\n', 'é', '[::1]'],
  )
})

await t.test('a base URL has an http or https scheme, a host, a port and a path', async (t) => {
  accepts(
    t,
    types.baseUrl,
    [
      ['https://api.tomtom.com', 'https://api.tomtom.com'],
      ['https://gateway.example/tomtom/v1/', 'https://gateway.example/tomtom/v1'],
      ['https://api.tomtom.com/', 'https://api.tomtom.com'],
      ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
      ['http://[::1]:8080', 'http://[::1]:8080'],
      ['HTTPS://API.TomTom.com:443', 'https://api.tomtom.com'],
    ],
    [
      '',
      'api.tomtom.com',
      '//api.tomtom.com',
      'ftp://api.tomtom.com',
      'file:///etc/passwd',
      'https:api.tomtom.com',
      'https://',
      'https://bücher.example',
      'https://api.tomtom.com\\search',
      'https://api.tomtom.com?key=1',
      'https://api.tomtom.com/?',
      'https://api.tomtom.com/#',
      'https://user@api.tomtom.com',
      'https://user:pass@api.tomtom.com',
      'https://@api.tomtom.com',
      'https://api.tomtom.com:65536',
      'https://api tomtom.com',
      ' https://api.tomtom.com',
      'javascript://x',
    ],
  )
})

await t.test('an origin with a wildcard is invalid, since it would match nothing', async (t) => {
  accepts(t, types.baseUrl, [], ['https://*', 'https://*.example', 'https://app.*:8080'])
  accepts(t, types.origins, [], ['https://app.example,https://*.example'])
})

await t.test('a base path has segments that need no encoding', async (t) => {
  accepts(
    t,
    types.basePath,
    [
      ['/ev', '/ev'],
      ['/ev/v1.0/a_b~c-d', '/ev/v1.0/a_b~c-d'],
      [`/${'a'.repeat(199)}`, `/${'a'.repeat(199)}`],
    ],
    [
      '',
      '/',
      'ev',
      '/ev/',
      '//ev',
      '/e v',
      '/e%20v',
      '/ev?',
      '/ev#',
      '/..',
      '/ev/./x',
      `/${'a'.repeat(200)}`,
    ],
  )
})

await t.test('a referer is kept as it is written', async (t) => {
  accepts(
    t,
    types.referer,
    [['https://www.example.com', 'https://www.example.com']],
    ['', 'example.com', 'https://u@example.com', 'https://example.com/\r\nx: y', 'https://example.com/é'],
  )
})

await t.test('origins are * or a list', async (t) => {
  accepts(
    t,
    types.origins,
    [
      ['*', '*'],
      ['https://a.example', ['https://a.example']],
      ['https://a.example,http://b.example:81', ['https://a.example', 'http://b.example:81']],
      ['https://A.example/ , https://b.example:443', ['https://a.example', 'https://b.example']],
    ],
    [
      '',
      ',',
      'https://a.example,',
      '*,https://a.example',
      'https://a.example,*',
      'null',
      'a.example',
      'https://a.example https://b.example',
      'https://a.example/x',
    ],
  )
})

await t.test('networks are addresses and CIDR ranges except /0', async (t) => {
  accepts(
    t,
    types.networks,
    [
      ['10.0.0.1', ['10.0.0.1']],
      ['10.0.0.0/8, fd00::/8', ['10.0.0.0/8', 'fd00::/8']],
      ['0.0.0.0/1', ['0.0.0.0/1']],
      ['10.0.0.1/32,::1/128', ['10.0.0.1/32', '::1/128']],
    ],
    [
      '',
      ',',
      '10.0.0.1,',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/33',
      '::1/129',
      '10.0.0.0/8/8',
      '10.0.0.0/',
      '10.0.0.0/255.0.0.0',
      '10.0.0',
      'loopback',
      'example.org',
      'true',
      '*',
      'fe80::1%eth0',
    ],
  )
})

await t.test('a quota is a number of calls per day or month', async (t) => {
  accepts(
    t,
    types.quota,
    [
      ['1/day', { limit: 1, per: 'day' }],
      ['2500/day', { limit: 2_500, per: 'day' }],
      ['75000/month', { limit: 75_000, per: 'month' }],
      ['999999999999/month', { limit: 999_999_999_999, per: 'month' }],
    ],
    [
      '',
      '0/day',
      '-1/day',
      '2500',
      '2500/',
      '/day',
      '2500/hour',
      '2500/days',
      '2500/Day',
      '2500 / day',
      '2.5/day',
      '1000000000000/day',
      '1e3/day',
      '2500/constructor',
    ],
  )
})

await t.test('a share is a fraction above 0 and up to 1', async (t) => {
  accepts(
    t,
    types.share,
    [
      ['1/1', 1],
      ['1/2', 0.5],
      ['3/4', 0.75],
      ['1/999999', 1 / 999_999],
    ],
    ['', '0/1', '1/0', '0/0', '2/1', '1', '0.5', '1/', '/1', '-1/2', '1/-2', '1 / 2', '1/1000000', '1/2/3'],
  )
})
