import t from 'tap'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { ALL_SETTINGS, files, KEY, load, NAMES, problem, problems } from './support.ts'

await t.test('defaults', async (t) => {
  await t.test('the defaults have these values', async (t) => {
    const { effective, overridable, ...config } = load()
    t.ok(effective && overridable)
    t.strictSame(config, {
      apiKey: { value: KEY },
      upstream: {
        baseUrl: 'https://api.tomtom.com',
        referer: null,
        timeoutMs: 3_000,
        softTimeoutMs: 800,
        maxConnections: 16,
        perSecond: 5,
        queueTimeoutMs: 1_000,
        quota: null,
        limitShare: 1,
      },
      cache: {
        ttlMs: 30_000,
        staleWhileRevalidateMs: 30_000,
        staleIfErrorMs: 300_000,
        emptyTtlMs: 60_000,
        maxTtlMs: 86_400_000,
        maxEntries: 100_000,
        maxBytes: 256 * 1024 * 1024,
        powerFilter: 'recount',
      },
      checkKeyAtStart: false,
      settingsFile: null,
      redis: null,
      stateDir: null,
      public: { host: '::', port: 8080, basePath: null, corsOrigins: '*', docs: true },
      live: { maxStreams: 1_000, watchFile: null },
      clients: { keys: null, perSecond: 0, maxInFlight: 0, quotaShare: 1, trustedProxies: null },
      admin: { host: '127.0.0.1', port: 8081 },
      drain: { delayMs: 0, timeoutMs: 10_000 },
      log: { level: 'info', access: false, clientAddress: 'off' },
      outboundProxy: null,
      warnings: [],
    })
  })

  await t.test('an empty variable counts as unset', async (t) => {
    const unset = NAMES.filter((name) => name !== 'TOMTOM_API_KEY').map((name) => [name, ''])
    t.strictSame(load(Object.fromEntries(unset)), load())
  })

  await t.test('one trailing newline is no part of a value', async (t) => {
    const environment = { TOMTOM_BASE_URL: 'https://x.example/a\n', CACHE_TTL: '7s\r\n', PORT: '\n' }
    const { upstream, cache, public: listener, effective } = load(environment)
    t.strictSame([upstream.baseUrl, cache.ttlMs, listener.port], ['https://x.example/a', 7_000, 8080])
    t.equal(effective['TOMTOM_BASE_URL'], 'https://x.example/a')
    t.match(problem('TOMTOM_BASE_URL', 'https://x.example\n\n'), [/got "https:\/\/x\.example\\n"$/])
    t.match(problem('TOMTOM_BASE_URL', '\nhttps://x.example'), [/^TOMTOM_BASE_URL: expected/])
  })

  await t.test('zero is a value and does not become the default', async (t) => {
    const config = load({
      CACHE_TTL: '0',
      CACHE_STALE_WHILE_REVALIDATE: '0',
      CACHE_STALE_IF_ERROR: '0',
      CACHE_EMPTY_TTL: '0',
      UPSTREAM_SOFT_TIMEOUT: '0',
      DRAIN_TIMEOUT: '0',
      PORT: '0',
    })
    t.match(config, {
      cache: { ttlMs: 0, staleWhileRevalidateMs: 0, staleIfErrorMs: 0, emptyTtlMs: 0 },
      upstream: { softTimeoutMs: 0 },
      drain: { timeoutMs: 0 },
      public: { port: 0 },
    })
  })
})

await t.test('problems', async (t) => {
  await t.test('all problems are in one error, with variable, expectation and received text', async (t) => {
    const environment = {
      TOMTOM_BASE_URL: 'ftp://x',
      CACHE_TTL: '30',
      CACHE_MAX_BYTES: 'much',
      PORT: '70000',
      ACCESS_LOG: 'yes',
    }
    t.strictSame(problems(environment), [
      'TOMTOM_API_KEY or TOMTOM_API_KEY_FILE: expected one of them, got neither',
      'TOMTOM_BASE_URL: expected an http or https URL without credentials, query or fragment, such as https://api.tomtom.com or https://gateway.example/tomtom, got "ftp://x"',
      'CACHE_TTL: expected a duration from 0 to 24h, such as 500ms, 30s, 5m or 1h, got "30"',
      'CACHE_MAX_BYTES: expected a size from 1024 bytes to 64GB, such as 512KB, 256MB or 1GB, got "much"',
      'PORT: expected a port from 0 (chosen by the system) to 65535, got "70000"',
      'ACCESS_LOG: expected true or false, got "yes"',
    ])
    const error = new ConfigError(problems(environment))
    t.equal(error.message.split('\n').length, 7, 'a headline and one line per problem')
    t.match(
      error.message,
      /^The configuration is not valid:\n {2}- TOMTOM_API_KEY .*\n {2}- TOMTOM_BASE_URL: /,
    )
  })

  await t.test('every invalid setting is reported once', async (t) => {
    // A SETTINGS_FILE that cannot be read is reported before all others.
    const names = NAMES.filter((name) => name !== 'SETTINGS_FILE')
    const found = problems(Object.fromEntries(names.map((name) => [name, '\u00e9 \u00e9'])))
    const values = NAMES.filter((name) => !name.endsWith('_FILE'))
    t.strictSame(
      found.map((line) => line.replace(/: .*/s, '')),
      [
        ...values.flatMap((name) =>
          NAMES.includes(`${name}_FILE`) ? [name, `${name} and ${name}_FILE`] : [name],
        ),
        'STATE_DIR and REDIS_URL',
      ],
    )
  })

  await t.test('a state directory and Redis exclude each other', async (t) => {
    const both = { TOMTOM_API_KEY: KEY, STATE_DIR: '/var/lib/x', REDIS_URL: 'redis://127.0.0.1' }
    t.match(problems(both), [/^STATE_DIR and REDIS_URL: expected one of them, got both/])
    t.equal(load({ STATE_DIR: './x' }).stateDir, './x')
    t.match(problems({ ...both, STATE_DIR: 'x' }), [/^STATE_DIR: expected the path of a directory/])
  })

  await t.test('the received text is shown on one line and cut', async (t) => {
    t.match(problem('PORT', 'a\nb\u001b[31m'), [/got "a\\nb\\u001b\[31m"$/])
    const [long = ''] = problem('PORT', 'x'.repeat(10_000))
    t.ok(long.length < 250)
    t.match(long, /x{80}…"$/)
  })

  await t.test('property names of objects are not settings', async (t) => {
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, constructor: 'x', toString: 'y' }), [])
  })

  await t.test('every log level is valid, and no other', async (t) => {
    const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']
    t.strictSame(
      levels.map((level) => load({ LOG_LEVEL: level }).log.level),
      levels,
    )
    t.match(problem('LOG_LEVEL', 'verbose'), [
      /one of fatal, error, warn, info, debug, trace, silent, got "verbose"$/,
    ])
  })
})

await t.test('unknown variables', async (t) => {
  await t.test('a variable with a prefix of the service warns by name, not by value', async (t) => {
    const unknown = {
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
      CHECK_KEY_ON_START: 'true',
    }
    t.strictSame(
      load(unknown).warnings,
      Object.keys(unknown).map((name) => `${name} is not a setting of this service`),
    )
  })

  await t.test('a variable without such a prefix does not warn', async (t) => {
    const environment = {
      PATH: '/bin',
      HOSTNAME: 'x',
      NODE_ENV: 'x',
      MY_CACHE_TTL: '1',
      cache_ttl: '1',
      CACHES_X: '1',
      TOMTOM: '1',
    }
    t.strictSame(load(environment).warnings, [])
  })

  await t.test('the variable that node --watch sets does not warn', async (t) => {
    t.strictSame(load({ WATCH_REPORT_DEPENDENCIES: '1' }).warnings, [])
  })

  await t.test('the variables that Kubernetes sets for its services do not warn', async (t) => {
    const environment = {
      CACHE_SERVICE_HOST: '10.0.0.1',
      CACHE_SERVICE_PORT: '6379',
      CACHE_SERVICE_PORT_REDIS: '6379',
      CACHE_PORT: 'tcp://10.0.0.1:6379',
      CACHE_PORT_6379_TCP: 'tcp://10.0.0.1:6379',
      CACHE_PORT_6379_TCP_ADDR: '10.0.0.1',
      UPSTREAM_MAIN_SERVICE_HOST: '10.0.0.2',
    }
    t.strictSame(load(environment).warnings, [])
  })

  await t.test('the variables that systemd sets for the directories of a unit do not warn', async (t) => {
    const directories = { STATE_DIRECTORY: '/var/lib/ev-availability-proxy', CACHE_DIRECTORY: '/var/cache/x' }
    t.strictSame(load(directories).warnings, [])
  })

  await t.test('an unknown variable is not a problem', async (t) => {
    t.strictSame(problem('CACHE_TLL', '1'), [])
  })
})

await t.test('the configuration', async (t) => {
  await t.test('the effective settings are texts in the order of the table, the key masked', async (t) => {
    const { effective } = load({ CACHE_TTL: '1m', PORT: '', UNKNOWN: 'x' })
    const given: Record<string, string> = { TOMTOM_API_KEY: '********', CACHE_TTL: '1m' }
    const expected = ALL_SETTINGS.map(({ name, default: text }) => [name, given[name] ?? text])
    t.strictSame(
      Object.entries(effective),
      expected.filter(([, text]) => text !== null),
    )
  })

  await t.test('the configuration is deeply frozen', async (t) => {
    const mutable: string[] = []
    const visit = (value: unknown, name: string) => {
      if (typeof value !== 'object' || value === null) return
      if (!Object.isFrozen(value)) mutable.push(name)
      for (const [key, member] of Object.entries(value)) visit(member, `${name}.${key}`)
    }
    visit(load({ CORS_ORIGINS: 'https://a.example', CACHE_X: '1', UPSTREAM_QUOTA: '1/day' }), 'config')
    t.strictSame(mutable, [])
  })

  await t.test('the configuration depends on the given environment only', async (t) => {
    const environment = Object.freeze({ TOMTOM_API_KEY: KEY, PORT: '1' })
    t.equal(loadConfig(environment, files()).public.port, 1)
    t.equal(load().public.port, 8_080)
  })
})
