import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { parseRuntimeSettings } from '../../src/config/runtime-settings.ts'
import { files, KEY, problems } from './support.ts'

const FILE = '/etc/proxy/settings'
const environment = { TOMTOM_API_KEY: KEY, SETTINGS_FILE: FILE, CACHE_TTL: '10s', UPSTREAM_QUOTA: '100/day' }
const load = (content: string) => loadConfig(environment, files({ [FILE]: content }))
const reload = (content: string) => parseRuntimeSettings(load(''), content)

await t.test('the file overrides the environment from the start', async (t) => {
  const config = load('# at night\n\n CACHE_TTL = 1m \r\nLOG_LEVEL=debug\nUPSTREAM_QUOTA=\n')
  t.match(config, {
    cache: { ttlMs: 60_000, staleIfErrorMs: 300_000 },
    upstream: { quota: null, perSecond: 5 },
    log: { level: 'debug' },
    effective: { CACHE_TTL: '1m', LOG_LEVEL: 'debug' },
  })
})

await t.test(
  'a setting that leaves the file has its value of the environment or its default again',
  async (t) => {
    const config = load('CACHE_TTL=1m\nUPSTREAM_MAX_QPS=50')
    t.match(parseRuntimeSettings(config, ''), {
      cache: { ttlMs: 10_000 },
      upstream: { perSecond: 5, quota: { limit: 100, per: 'day' } },
    })
  },
)

await t.test('all six settings can be overridden, and no other', async (t) => {
  const text =
    'CACHE_TTL=2s\nCACHE_MAX_TTL=3s\nCACHE_STALE_IF_ERROR=4s\nUPSTREAM_MAX_QPS=0.5\nUPSTREAM_QUOTA=7/month\nLOG_LEVEL=warn'
  const { effective, ...settings } = reload(text)
  t.strictSame(settings, {
    cache: { ttlMs: 2_000, maxTtlMs: 3_000, staleIfErrorMs: 4_000 },
    upstream: { perSecond: 0.5, quota: { limit: 7, per: 'month' } },
    log: { level: 'warn' },
  })
  t.equal(
    Object.entries(effective)
      .map((pair) => pair.join('='))
      .join('\n'),
    text,
  )
  t.throws(() => reload('TOMTOM_API_KEY=hidden-key'), {
    message: /^line 1: expected NAME=value with one of CACHE_TTL, CACHE_MAX_TTL, [^]*LOG_LEVEL$/,
  })
})

await t.test('a mistake is an error that names its line or its setting', async (t) => {
  const messageOf = (content: string) => {
    try {
      reload(content)
      return null
    } catch (error) {
      return (error as Error).message
    }
  }
  t.match(
    ['CACHE_TTL=1m\nnonsense', 'CACHE_TTL=1m\nCACHE_TTL=2m', 'CACHE_TTL=soon', 'CACHE_MAX_TTL=1s', '=1'].map(
      messageOf,
    ),
    [
      /^line 2: expected NAME=value/,
      'line 2: CACHE_TTL is there twice',
      /^CACHE_TTL: expected a duration .* got "soon"$/,
      /^CACHE_MAX_TTL: expected at least CACHE_TTL/,
      /^line 1: expected NAME=value/,
    ],
  )
  t.ok((messageOf('x\n'.repeat(100_000))?.length ?? 0) < 2_000, 'the message is bounded')
  t.notMatch(messageOf('TOMTOM_API_KEY=hidden-key'), 'hidden')
})

await t.test('an invalid or missing file prevents the start', async (t) => {
  t.match(problems(environment, { [FILE]: 'CACHE_TTL=soon' }), [/^CACHE_TTL: expected a duration/])
  t.match(problems(environment, { [FILE]: 'nonsense' }), [/^SETTINGS_FILE: line 1: expected NAME=value/])
  t.match(problems(environment, {}), [/^SETTINGS_FILE: expected the path of a readable file, got ENOENT$/])
})
