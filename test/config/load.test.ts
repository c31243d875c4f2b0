import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import type { Config, Environment } from '../../src/config/load.ts'
import { ConfigError, loadConfig, SETTINGS } from '../../src/config/load.ts'
import type { SettingType } from '../../src/config/types.ts'
import * as kinds from '../../src/config/types.ts'
import { parseSecret } from '../../src/lib/secret.ts'

const KEY = 'a-key-0123456789abcdef'
const NAMES = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[]

/** Files by path; any other path is missing. */
const files =
  (contents: Record<string, string> = {}) =>
  (path: string) => {
    const text = contents[path]
    if (text === undefined)
      throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' })
    return text
  }

/** The configuration of these settings and a key. */
const load = (environment: Environment = {}): Config =>
  loadConfig({ TOMTOM_API_KEY: KEY, ...environment }, files())

/** What is wrong with an environment, mistake by mistake. */
function problems(environment: Environment, contents?: Record<string, string>): readonly string[] {
  try {
    loadConfig(environment, files(contents))
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/** What is wrong with one setting beside a good key. */
const problem = (name: string, text: string) => problems({ TOMTOM_API_KEY: KEY, [name]: text })

/** Defaults as the service promises them; null where nothing is preset. */
const DEFAULTS: Record<string, string | null> = {
  TOMTOM_API_KEY: null,
  TOMTOM_API_KEY_FILE: null,
  TOMTOM_BASE_URL: 'https://api.tomtom.com',
  HOST: '0.0.0.0',
  PORT: '8080',
  ADMIN_HOST: '127.0.0.1',
  ADMIN_PORT: '8081',
  CORS_ORIGINS: '*',
  CLIENT_KEYS: null,
  CLIENT_KEYS_FILE: null,
  CLIENT_RATE_LIMIT: '0',
  CLIENT_MAX_IN_FLIGHT: '0',
  TRUSTED_PROXIES: null,
  CACHE_TTL: '30s',
  CACHE_STALE_WHILE_REVALIDATE: '30s',
  CACHE_STALE_IF_ERROR: '5m',
  CACHE_EMPTY_TTL: '60s',
  CACHE_MAX_TTL: '5m',
  CACHE_MAX_ENTRIES: '100000',
  CACHE_MAX_BYTES: '256MB',
  UPSTREAM_TIMEOUT: '3s',
  UPSTREAM_SOFT_TIMEOUT: '800ms',
  UPSTREAM_MAX_QPS: '5',
  UPSTREAM_QUEUE_TIMEOUT: '1s',
  UPSTREAM_QUOTA: null,
  UPSTREAM_MAX_CONNECTIONS: '16',
  UPSTREAM_LIMIT_SHARE: '1/1',
  REDIS_URL: null,
  DOCS: 'true',
  DRAIN_TIMEOUT: '10s',
  DRAIN_DELAY: '0',
  LOG_LEVEL: 'info',
  ACCESS_LOG: 'false',
}

await t.test('defaults', async (t) => {
  await t.test('are the promised ones, and no setting is without a promise', async (t) => {
    for (const name of NAMES) t.equal(SETTINGS[name].default, DEFAULTS[name], name)
  })

  await t.test('become these values', async (t) => {
    t.match(load(), {
      apiKey: { value: KEY },
      public: { host: '0.0.0.0', port: 8080 },
      admin: { host: '127.0.0.1', port: 8081 },
      corsOrigins: '*',
      clients: null,
      access: { perSecond: 0, maxInFlight: 0, trustedProxies: [] },
      docs: true,
      cache: {
        ttlMs: 30_000,
        staleWhileRevalidateMs: 30_000,
        staleIfErrorMs: 300_000,
        emptyTtlMs: 60_000,
        maxTtlMs: 300_000,
        maxEntries: 100_000,
        maxBytes: 256 * 1024 * 1024,
      },
      upstream: {
        origin: 'https://api.tomtom.com',
        timeoutMs: 3_000,
        softTimeoutMs: 800,
        maxConnections: 16,
        perSecond: 5,
        queueTimeoutMs: 1_000,
        quota: null,
      },
      drain: { delayMs: 0, timeoutMs: 10_000 },
      log: { level: 'info', access: false },
      warnings: [],
    })
  })

  await t.test('pass their own rules, and every setting has a sentence', async (t) => {
    for (const name of NAMES) {
      const { default: preset, parse, description: meaning, expected: expects } = SETTINGS[name]
      if (preset !== null) t.not(parse(preset), undefined, name)
      t.match(meaning, /^\S.{5,}[^.\s]$/, name)
      t.match(expects, /^\S.{5,}[^.\s]$/, name)
    }
  })

  await t.test('an empty variable is an unset one', async (t) => {
    const empty = Object.fromEntries(
      NAMES.filter((name) => name !== 'TOMTOM_API_KEY').map((name) => [name, '']),
    )
    t.strictSame(load(empty), load())
  })

  await t.test('zero is a value, not an absence', async (t) => {
    const {
      cache,
      upstream,
      drain,
      public: listener,
    } = load({
      CACHE_TTL: '0',
      CACHE_STALE_WHILE_REVALIDATE: '0',
      CACHE_STALE_IF_ERROR: '0',
      CACHE_EMPTY_TTL: '0',
      UPSTREAM_SOFT_TIMEOUT: '0',
      DRAIN_TIMEOUT: '0',
      PORT: '0',
    })
    t.match(cache, { ttlMs: 0, staleWhileRevalidateMs: 0, staleIfErrorMs: 0, emptyTtlMs: 0 })
    t.equal(upstream.softTimeoutMs, 0)
    t.equal(drain.timeoutMs, 0)
    t.equal(listener.port, 0)
  })
})

/** Per kind: texts that are taken, with their value, and texts that are not. */
function accepts<T>(
  t: Test,
  kind: SettingType<T>,
  good: readonly (readonly [string, T])[],
  bad: readonly string[],
) {
  for (const [text, value] of good) t.strictSame(kind.parse(text), value, JSON.stringify(text))
  for (const text of bad) t.strictSame(kind.parse(text), undefined, `${JSON.stringify(text)} is refused`)
}

await t.test('kinds of values', async (t) => {
  await t.test('a port: whole, 0 to 65535', async (t) => {
    accepts(
      t,
      kinds.port,
      [
        ['0', 0],
        ['1', 1],
        ['65534', 65_534],
        ['65535', 65_535],
      ],
      ['65536', '-1', '80.0', '8e3', '0x50', ' 80', '80 ', '80\n', 'http', '', '9'.repeat(30), '٨٠'],
    )
  })

  await t.test('a duration: a whole number with a unit, or 0', async (t) => {
    const upToAnHour = kinds.duration(0, 3_600_000)
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
    const bounded = kinds.duration(10, 300_000)
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
    t.match(kinds.duration(0, 86_400_000).expected, 'a duration from 0 to 24h')
    t.match(kinds.duration(1_500, 90_000).expected, 'a duration from 1500ms to 90s')
  })

  await t.test('a count: whole and within its bounds', async (t) => {
    accepts(
      t,
      kinds.count(1, 1_000),
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

  await t.test('a rate: a decimal number of calls a second, 0 for none', async (t) => {
    accepts(
      t,
      kinds.rate,
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

  await t.test('a size: bytes, or KB, MB, GB as powers of 1024', async (t) => {
    const size = kinds.size(65_536, 2 * 1024 ** 3)
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

  await t.test('a flag: true or false, and nothing that an object inherits', async (t) => {
    accepts(
      t,
      kinds.flag,
      [
        ['true', true],
        ['false', false],
      ],
      ['TRUE', 'yes', 'no', '1', '0', 'on', '', ' true', 'toString', 'constructor', '__proto__', 'valueOf'],
    )
  })

  await t.test('one of a list', async (t) => {
    accepts(
      t,
      kinds.oneOf('a', 'b'),
      [
        ['a', 'a'],
        ['b', 'b'],
      ],
      ['c', 'A', '', 'a,b', 'constructor'],
    )
    for (const level of ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']) {
      t.equal(load({ LOG_LEVEL: level }).log.level, level)
    }
    t.match(problem('LOG_LEVEL', 'verbose'), [
      /one of fatal, error, warn, info, debug, trace, silent, got "verbose"$/,
    ])
  })

  await t.test('a host', async (t) => {
    accepts(
      t,
      kinds.host,
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

  await t.test('an origin: http or https, and nothing but scheme, host and port', async (t) => {
    accepts(
      t,
      kinds.origin,
      [
        ['https://api.tomtom.com', 'https://api.tomtom.com'],
        ['https://api.tomtom.com/', 'https://api.tomtom.com'],
        ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
        ['http://[::1]:8080', 'http://[::1]:8080'],
        ['HTTPS://API.TomTom.com:443', 'https://api.tomtom.com'],
        ['https://bücher.example', 'https://xn--bcher-kva.example'],
      ],
      [
        '',
        'api.tomtom.com',
        '//api.tomtom.com',
        'ftp://api.tomtom.com',
        'file:///etc/passwd',
        'https:api.tomtom.com',
        'https://',
        'https://api.tomtom.com/search',
        'https://api.tomtom.com//',
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

  await t.test('an origin with a wildcard is refused, for it would match nothing', async (t) => {
    accepts(t, kinds.origin, [], ['https://*', 'https://*.example', 'https://app.*:8080'])
    accepts(t, kinds.origins, [], ['https://app.example,https://*.example'])
  })

  await t.test('origins: * alone, or a list', async (t) => {
    accepts(
      t,
      kinds.origins,
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

  await t.test('addresses and networks, but never everything', async (t) => {
    accepts(
      t,
      kinds.networks,
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

  await t.test('a quota: calls per UTC day or month', async (t) => {
    accepts(
      t,
      kinds.quota,
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
})

/** For each setting with bounds of its own: the last text taken and the first refused, on both sides. */
const BOUNDS: Record<string, { good: readonly string[]; bad: readonly string[] }> = {
  PORT: { good: ['0', '65535'], bad: ['-1', '65536'] },
  ADMIN_PORT: { good: ['0', '65535'], bad: ['-1', '65536'] },
  CLIENT_RATE_LIMIT: { good: ['0', '1', '100000'], bad: ['-1', '0.5', '100001'] },
  CLIENT_MAX_IN_FLIGHT: { good: ['0', '1', '100000'], bad: ['-1', '0.5', '100001'] },
  CACHE_TTL: { good: ['0', '24h', '86399999ms'], bad: ['-1s', '86400001ms', '25h'] },
  CACHE_STALE_WHILE_REVALIDATE: { good: ['0', '24h'], bad: ['86400001ms'] },
  CACHE_STALE_IF_ERROR: { good: ['0', '24h'], bad: ['86400001ms'] },
  CACHE_EMPTY_TTL: { good: ['0', '24h'], bad: ['86400001ms'] },
  CACHE_MAX_TTL: { good: ['0', '744h'], bad: ['2678400001ms'] },
  CACHE_MAX_ENTRIES: { good: ['1', '10000000'], bad: ['0', '10000001'] },
  CACHE_MAX_BYTES: { good: ['1KB', '1024', '64GB'], bad: ['1023', '65GB', '68719476737'] },
  UPSTREAM_TIMEOUT: { good: ['10ms', '300s'], bad: ['9ms', '0', '300001ms'] },
  UPSTREAM_SOFT_TIMEOUT: { good: ['0', '5m'], bad: ['300001ms'] },
  UPSTREAM_MAX_QPS: { good: ['0', '0.000001', '100000'], bad: ['-1', '100000.000001'] },
  UPSTREAM_QUEUE_TIMEOUT: { good: ['0', '60s'], bad: ['60001ms'] },
  UPSTREAM_MAX_CONNECTIONS: { good: ['1', '1000'], bad: ['0', '1001'] },
  DRAIN_DELAY: { good: ['0', '10m'], bad: ['600001ms'] },
  DRAIN_TIMEOUT: { good: ['0', '1h'], bad: ['3600001ms'] },
}

await t.test('bounds hold at, under and over the limit', async (t) => {
  const ranged = NAMES.filter((name) => / from \S+ .*to /.test(SETTINGS[name].expected))
  t.strictSame(Object.keys(BOUNDS), ranged, 'every setting with bounds is here')
  for (const [name, { good, bad }] of Object.entries(BOUNDS)) {
    for (const text of good) t.strictSame(problem(name, text), [], `${name}=${text}`)
    for (const text of bad) t.match(problem(name, text), [`${name}: expected `], `${name}=${text} is refused`)
  }
})

await t.test('mistakes', async (t) => {
  await t.test('are all told together, in one message: variable, what was expected, what came', async (t) => {
    const environment = {
      TOMTOM_BASE_URL: 'ftp://x',
      PORT: '70000',
      CACHE_TTL: '30',
      CACHE_MAX_BYTES: 'much',
      ACCESS_LOG: 'yes',
    }
    t.strictSame(problems(environment), [
      `TOMTOM_BASE_URL: expected ${SETTINGS.TOMTOM_BASE_URL.expected}, got "ftp://x"`,
      'PORT: expected a port from 0 (chosen by the system) to 65535, got "70000"',
      'CACHE_TTL: expected a duration from 0 to 24h, such as 500ms, 30s, 5m or 1h, got "30"',
      'CACHE_MAX_BYTES: expected a size from 1024 bytes to 64GB, such as 512KB, 256MB or 1GB, got "much"',
      'ACCESS_LOG: expected true or false, got "yes"',
      'TOMTOM_API_KEY or TOMTOM_API_KEY_FILE: expected one of them, got neither',
    ])
    const error = new ConfigError(problems(environment))
    t.equal(error.message.split('\n').length, 7, 'a headline and a line each')
    t.match(error.message, /^The configuration is not valid:\n {2}- TOMTOM_BASE_URL: .*\n {2}- PORT: /)
  })

  await t.test('every setting can be mistaken at once, each told once', async (t) => {
    const wrong = Object.fromEntries(NAMES.map((name) => [name, '\u00e9 \u00e9']))
    const told = problems(wrong)
    const settled = NAMES.filter((name) => !['TOMTOM_API_KEY_FILE', 'CLIENT_KEYS_FILE'].includes(name))
    for (const name of settled) t.equal(told.filter((line) => line.startsWith(`${name}: `)).length, 1, name)
    t.ok(told.includes('TOMTOM_API_KEY and TOMTOM_API_KEY_FILE: expected one, got both'))
    t.ok(told.includes('CLIENT_KEYS and CLIENT_KEYS_FILE: expected one, got both'))
  })

  await t.test('what came is shown on one line and cut', async (t) => {
    t.match(problem('PORT', 'a\nb\u001b[31m'), [/got "a\\nb\\u001b\[31m"$/])
    const [long = ''] = problem('PORT', 'x'.repeat(10_000))
    t.ok(long.length < 250)
    t.match(long, /x{80}…"$/)
  })

  await t.test('names that objects inherit are no settings', async (t) => {
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, constructor: 'x', toString: 'y' }), [])
  })
})

/** A disk that fails with more words than a log should have. */
const broken = () => {
  throw new Error(`something about ${KEY}`)
}

await t.test('the key', async (t) => {
  const FILE = '/run/secrets/key'
  const fromFile = (content: string) => problems({ TOMTOM_API_KEY_FILE: FILE }, { [FILE]: content })

  await t.test('comes as a value', async (t) => {
    t.strictSame(load().apiKey, { value: KEY })
  })

  await t.test('or in a file, whose path is kept and not its content', async (t) => {
    const config = loadConfig({ TOMTOM_API_KEY_FILE: FILE }, files({ [FILE]: `${KEY}\n` }))
    t.strictSame(config.apiKey, { file: FILE })
    t.notMatch(JSON.stringify(config), KEY)
  })

  await t.test('both are refused, whether they are good or not', async (t) => {
    const both = 'TOMTOM_API_KEY and TOMTOM_API_KEY_FILE: expected one, got both'
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, TOMTOM_API_KEY_FILE: FILE }, { [FILE]: KEY }), [both])
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, TOMTOM_API_KEY_FILE: '/missing' }), [both])
    t.ok(problems({ TOMTOM_API_KEY: 'a b', TOMTOM_API_KEY_FILE: FILE }, { [FILE]: KEY }).includes(both))
  })

  await t.test('neither is refused, and so is empty', async (t) => {
    const neither = ['TOMTOM_API_KEY or TOMTOM_API_KEY_FILE: expected one of them, got neither']
    t.strictSame(problems({}), neither)
    t.strictSame(problems({ TOMTOM_API_KEY: '', TOMTOM_API_KEY_FILE: '' }), neither)
    t.strictSame(problems({ TOMTOM_API_KEY: undefined }), neither)
  })

  await t.test('an empty one beside a good one is none', async (t) => {
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, TOMTOM_API_KEY_FILE: '' }), [])
    t.strictSame(problems({ TOMTOM_API_KEY: '', TOMTOM_API_KEY_FILE: FILE }, { [FILE]: KEY }), [])
  })

  await t.test('loses one trailing newline, as editors leave it', async (t) => {
    for (const text of [KEY, `${KEY}\n`, `${KEY}\r\n`]) {
      t.equal(parseSecret(text), KEY, JSON.stringify(text))
      t.strictSame(load({ TOMTOM_API_KEY: text }).apiKey, { value: KEY })
      t.strictSame(fromFile(text), [])
    }
  })

  await t.test(
    'is one line of visible ASCII: a file with anything else, or with nothing, is refused',
    async (t) => {
      for (const text of [
        '',
        '\n',
        '\r\n',
        ' ',
        `${KEY}\n\n`,
        `\n${KEY}`,
        ` ${KEY}`,
        `${KEY} `,
        `${KEY}\r`,
        'two words',
        `a\tb`,
        'a\0b',
        'ké',
        `\ufeff${KEY}`,
        `${KEY}\n${KEY}`,
      ]) {
        t.equal(parseSecret(text), null, JSON.stringify(text))
        t.strictSame(fromFile(text), [
          'TOMTOM_API_KEY_FILE: expected one line of visible ASCII characters in the file, got something else',
        ])
        if (text !== '') {
          t.strictSame(problem('TOMTOM_API_KEY', text), [
            'TOMTOM_API_KEY: expected one line of visible ASCII characters, got something else',
          ])
        }
      }
      t.equal(parseSecret('!~'), '!~', 'the ends of visible ASCII')
    },
  )

  await t.test('a file that is missing is told by its path and why', async (t) => {
    t.strictSame(problems({ TOMTOM_API_KEY_FILE: '/no/such' }), [
      'TOMTOM_API_KEY_FILE: expected the path of a readable file, got ENOENT for "/no/such"',
    ])
    t.throws(
      () => loadConfig({ TOMTOM_API_KEY_FILE: '/x' }, broken),
      new ConfigError(['TOMTOM_API_KEY_FILE: expected the path of a readable file, got an error for "/x"']),
    )
  })

  await t.test('the file is told beside the other mistakes', async (t) => {
    t.equal(problems({ TOMTOM_API_KEY_FILE: '/no/such', PORT: 'x' }).length, 2)
  })
})

await t.test("the clients' keys", async (t) => {
  const CLIENTS = `web=${KEY},ios=${KEY}2`
  const FILE = '/run/secrets/clients'
  const told = (environment: Environment, contents?: Record<string, string>) =>
    problems({ TOMTOM_API_KEY: KEY, ...environment }, contents)

  await t.test('come as a value or in a file, or not at all', async (t) => {
    t.equal(load().clients, null)
    t.strictSame(load({ CLIENT_KEYS: CLIENTS }).clients, {
      value: [
        { name: 'web', key: KEY },
        { name: 'ios', key: `${KEY}2` },
      ],
    })
    const environment = { TOMTOM_API_KEY: KEY, CLIENT_KEYS_FILE: FILE }
    const config = loadConfig(environment, files({ [FILE]: `# a comment\nweb=${KEY}3\n` }))
    t.strictSame(config.clients, { file: FILE })
    t.notMatch(JSON.stringify(config), `${KEY}3`)
  })

  await t.test('as both are refused, as is a file that is missing or bad', async (t) => {
    t.strictSame(told({ CLIENT_KEYS: CLIENTS, CLIENT_KEYS_FILE: FILE }, { [FILE]: CLIENTS }), [
      'CLIENT_KEYS and CLIENT_KEYS_FILE: expected one, got both',
    ])
    t.strictSame(told({ CLIENT_KEYS_FILE: FILE }), [
      `CLIENT_KEYS_FILE: expected the path of a readable file, got ENOENT for "${FILE}"`,
    ])
    t.strictSame(told({ CLIENT_KEYS_FILE: FILE }, { [FILE]: `web=${KEY}\nweb=cAnArY` }), [
      'CLIENT_KEYS_FILE: expected one name=key a line in the file; line 2: a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~; line 2: the name was used before',
    ])
    t.match(told({ CLIENT_KEYS_FILE: FILE }, { [FILE]: '# nobody' }), [/there is no client$/])
  })

  await t.test('are all told of together when they are mistaken, and never shown', async (t) => {
    t.strictSame(told({ CLIENT_KEYS: `web=cAnArY,cAnArY,ios=${KEY}`, PORT: 'x' }), [
      'PORT: expected a port from 0 (chosen by the system) to 65535, got "x"',
      'CLIENT_KEYS: expected name=key pairs, separated by commas, got something else; entry 1: a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~; entry 2: name=key is expected',
    ])
    t.equal(load({ CLIENT_KEYS: CLIENTS }).effective['CLIENT_KEYS'], '********')
  })
})

await t.test('what nobody may read', async (t) => {
  await t.test('a key is never repeated, wherever it was put and whatever else is wrong', async (t) => {
    const canary = 'cAnArY7734'
    for (const environment of [
      { TOMTOM_API_KEY: `${canary} ${canary}` },
      { TOMTOM_API_KEY: canary, TOMTOM_API_KEY_FILE: '/x' },
      { TOMTOM_API_KEY: canary, PORT: 'x' },
      { TOMTOM_BASE_URL: `https://api.tomtom.com/?key=${canary}` },
      { TOMTOM_BASE_URL: `https://api.tomtom.com/#${canary}` },
    ]) {
      t.not(problems(environment).length, 0)
      t.notMatch(problems(environment).join('\n'), canary)
    }
    t.notMatch(problems({ TOMTOM_API_KEY_FILE: '/f' }, { '/f': `${canary} x` }).join('\n'), canary)
  })

  await t.test('a key pasted where its path belongs is not repeated', async (t) => {
    t.notMatch(problems({ TOMTOM_API_KEY_FILE: 'cAnArY7734' }).join('\n'), 'cAnArY7734')
  })

  await t.test('credentials in a URL are not repeated, however it is mistaken', async (t) => {
    for (const url of [
      'https://user:cAnArY@api.example',
      'https://cAnArY@api.example',
      'https://user:cAn/cAnArY@api.example',
      'https://user:c@cAnArY@api.example',
      'https://user:c?cAnArY@api.example',
      'https://user:c#cAnArY@api.example',
      'https://api.example/?key=c@cAnArY',
      'user:cAnArY@api.example',
      'https:user:cAnArY@api.example',
      'https:/user:cAnArY@api.example',
      'https:\\\\user:cAnArY@api.example',
      'https://a.example,https://user:cAnArY@b.example',
      'https://user:x@a.example,https://user:cAnArY@b.example',
    ]) {
      for (const name of ['TOMTOM_BASE_URL', 'CORS_ORIGINS']) {
        const [told = ''] = problem(name, url)
        t.match(told, `${name}: expected `, url)
        t.notMatch(told, 'cAnArY', `${name}=${url}`)
      }
    }
  })

  await t.test('the host of a mistaken URL can still be read', async (t) => {
    t.match(problem('TOMTOM_BASE_URL', 'https://user:pass@api.example/path'), [/got ".*api\.example\/path"$/])
    t.match(problem('TOMTOM_BASE_URL', 'https://api.example/path'), [/got "https:\/\/api\.example\/path"$/])
  })
})

await t.test('unknown variables', async (t) => {
  await t.test('with a prefix of ours are told by name, not by value', async (t) => {
    const { warnings } = load({
      TOMTOM_APIKEY: 'cAnArY',
      CACHE_TTL_MS: '1',
      UPSTREAM_TIMEOUTS: '1',
      CORS_ORIGIN: '*',
      ADMIN_PORTS: '1',
      DRAIN_: '1',
      ACCESS_LOGS: '',
      LOG_LVL: 'debug',
      CACHE_PORT: '6379',
      UPSTREAM_SERVICE: 'x',
    })
    t.strictSame(
      warnings,
      [
        'TOMTOM_APIKEY',
        'CACHE_TTL_MS',
        'UPSTREAM_TIMEOUTS',
        'CORS_ORIGIN',
        'ADMIN_PORTS',
        'DRAIN_',
        'ACCESS_LOGS',
        'LOG_LVL',
        'CACHE_PORT',
        'UPSTREAM_SERVICE',
      ].map((name) => `${name} is not a setting of this service`),
    )
  })

  await t.test("without one are nobody's business", async (t) => {
    t.strictSame(
      load({
        PATH: '/bin',
        HOSTNAME: 'x',
        NODE_ENV: 'x',
        MY_CACHE_TTL: '1',
        cache_ttl: '1',
        CACHES_X: '1',
        TOMTOM: '1',
      }).warnings,
      [],
    )
  })

  await t.test('that Kubernetes sets for a service of that name are not told', async (t) => {
    t.strictSame(
      load({
        CACHE_SERVICE_HOST: '10.0.0.1',
        CACHE_SERVICE_PORT: '6379',
        CACHE_SERVICE_PORT_REDIS: '6379',
        CACHE_PORT: 'tcp://10.0.0.1:6379',
        CACHE_PORT_6379_TCP: 'tcp://10.0.0.1:6379',
        CACHE_PORT_6379_TCP_ADDR: '10.0.0.1',
        UPSTREAM_MAIN_SERVICE_HOST: '10.0.0.2',
      }).warnings,
      [],
    )
  })

  await t.test('are no mistakes', async (t) => {
    t.strictSame(problem('CACHE_TLL', '1'), [])
  })
})

await t.test('the result', async (t) => {
  await t.test('tells every setting in force as text, in order, the key masked', async (t) => {
    const { effective } = load({ CACHE_TTL: '1m', PORT: '', UNKNOWN: 'x' })
    const expected = NAMES.flatMap((name) => {
      const text = { TOMTOM_API_KEY: '********', CACHE_TTL: '1m' }[name as string] ?? SETTINGS[name].default
      return text === null ? [] : [[name, text]]
    })
    t.strictSame(Object.entries(effective), expected)
    t.notMatch(JSON.stringify(effective), KEY)
  })

  await t.test('is frozen, all the way down', async (t) => {
    const mutable: string[] = []
    const look = (value: unknown, name: string) => {
      if (typeof value !== 'object' || value === null) return
      if (!Object.isFrozen(value)) mutable.push(name)
      for (const [key, member] of Object.entries(value)) look(member, `${name}.${key}`)
    }
    look(load({ CORS_ORIGINS: 'https://a.example', CACHE_X: '1' }), 'config')
    t.strictSame(mutable, [])
  })

  await t.test('depends on the environment that was handed in, and reads no other', async (t) => {
    const environment = Object.freeze({ TOMTOM_API_KEY: KEY, PORT: '1' })
    t.equal(loadConfig(environment, files()).public.port, 1)
    t.equal(load().public.port, 8_080)
  })
})

await t.test('.env.example', async (t) => {
  const text = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8')
  /** A block a setting: its sentence as a comment, then the assignment, commented out (without a space) or not. */
  const blocks = [...text.matchAll(/^# (.+)\n(#?)([A-Z_]+)=(.*)$/gm)].map(
    ([, sentence, off, name, value]) => ({
      sentence,
      isOff: off === '#',
      name: name as (typeof NAMES)[number],
      value: value ?? '',
    }),
  )

  await t.test('has every setting, in the order of the table, and nothing else', async (t) => {
    t.strictSame(
      blocks.map(({ name }) => name),
      NAMES,
    )
    t.strictSame(
      [...text.matchAll(/^#?\s*([A-Z_]+)=/gm)].map(([, name]) => name),
      NAMES,
      'no assignment without its sentence',
    )
  })

  for (const { name, sentence, isOff, value } of blocks.filter(({ name }) => Object.hasOwn(SETTINGS, name))) {
    const { default: preset, description: meaning, parse } = SETTINGS[name]
    await t.test(
      `${name} has its sentence and ${preset === null ? 'a value that would do' : 'its default'}`,
      async (t) => {
        t.equal(sentence, meaning)
        t.equal(isOff, name !== 'TOMTOM_API_KEY')
        if (preset === null) t.ok(value !== '' && parse(value) !== undefined)
        else t.equal(value, preset)
      },
    )
  }

  await t.test('as it is, it starts the service with the defaults', async (t) => {
    const assignments = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    const environment = Object.fromEntries(assignments.map((line) => line.split('=', 2))) as Environment
    const config = loadConfig(environment, files())
    t.strictSame({ ...config, apiKey: null }, { ...load(), apiKey: null })
  })

  await t.test('its key is obviously none', async (t) => {
    t.match(blocks.find(({ name }) => name === 'TOMTOM_API_KEY')?.value, /^(your|put|replace|change)\b.*-/)
  })

  await t.test('has nothing but blocks, comments and blank lines, and ends with a newline', async (t) => {
    for (const line of text.split('\n')) t.match(line, /^(|# .+|#?[A-Z_]+=\S+)$/, line)
    t.ok(text.endsWith('\n'))
  })
})
