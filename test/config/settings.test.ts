import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Environment } from '../../src/config/load.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Setting } from '../../src/config/schema.ts'
import { settingsIn } from '../../src/config/schema.ts'
import { GROUP_TITLES, SETTINGS } from '../../src/config/settings.ts'
import { ALL_SETTINGS, files, load, NAMES } from './support.ts'

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')

/** The documented defaults; null if there is none. */
const DEFAULTS: Record<string, string | null> = {
  TOMTOM_API_KEY: null,
  TOMTOM_API_KEY_FILE: null,
  TOMTOM_BASE_URL: 'https://api.tomtom.com',
  UPSTREAM_REFERER: null,
  UPSTREAM_TIMEOUT: '3s',
  UPSTREAM_SOFT_TIMEOUT: '800ms',
  UPSTREAM_MAX_CONNECTIONS: '16',
  UPSTREAM_MAX_QPS: '5',
  UPSTREAM_QUEUE_TIMEOUT: '1s',
  UPSTREAM_QUOTA: null,
  UPSTREAM_LIMIT_SHARE: '1/1',
  CHECK_KEY_AT_START: 'false',
  SETTINGS_FILE: null,
  CACHE_TTL: '30s',
  CACHE_STALE_WHILE_REVALIDATE: '30s',
  CACHE_STALE_IF_ERROR: '5m',
  CACHE_EMPTY_TTL: '60s',
  CACHE_MAX_TTL: '24h',
  CACHE_MAX_ENTRIES: '100000',
  CACHE_MAX_BYTES: '256MB',
  POWER_FILTER: 'recount',
  REDIS_URL: null,
  REDIS_URL_FILE: null,
  STATE_DIR: null,
  HOST: '::',
  PORT: '8080',
  BASE_PATH: null,
  CORS_ORIGINS: '*',
  DOCS: 'true',
  EVENTS_MAX_STREAMS: '1000',
  WATCH_FILE: null,
  CLIENT_KEYS: null,
  CLIENT_KEYS_FILE: null,
  CLIENT_RATE_LIMIT: '0',
  CLIENT_MAX_IN_FLIGHT: '0',
  CLIENT_QUOTA_SHARE: '100%',
  TRUSTED_PROXIES: null,
  ADMIN_HOST: '127.0.0.1',
  ADMIN_PORT: '8081',
  DRAIN_DELAY: '0',
  DRAIN_TIMEOUT: '10s',
  LOG_LEVEL: 'info',
  ACCESS_LOG: 'false',
  LOG_CLIENT_ADDRESS: 'off',
}

/** For each setting with bounds: texts at and within them, and the first texts beyond. */
const BOUNDS: Record<string, { readonly valid: readonly string[]; readonly invalid: readonly string[] }> = {
  UPSTREAM_TIMEOUT: { valid: ['10ms', '300s'], invalid: ['9ms', '0', '300001ms'] },
  UPSTREAM_SOFT_TIMEOUT: { valid: ['0', '5m'], invalid: ['300001ms'] },
  UPSTREAM_MAX_CONNECTIONS: { valid: ['1', '1000'], invalid: ['0', '1001'] },
  UPSTREAM_MAX_QPS: { valid: ['0', '0.000001', '100000'], invalid: ['-1', '100000.000001'] },
  UPSTREAM_QUEUE_TIMEOUT: { valid: ['0', '60s'], invalid: ['60001ms'] },
  CACHE_TTL: { valid: ['0', '24h', '86399999ms'], invalid: ['-1s', '86400001ms', '25h'] },
  CACHE_STALE_WHILE_REVALIDATE: { valid: ['0', '24h'], invalid: ['86400001ms'] },
  CACHE_STALE_IF_ERROR: { valid: ['0', '24h'], invalid: ['86400001ms'] },
  CACHE_EMPTY_TTL: { valid: ['0', '24h'], invalid: ['86400001ms'] },
  CACHE_MAX_TTL: { valid: ['0', '744h'], invalid: ['2678400001ms'] },
  CACHE_MAX_ENTRIES: { valid: ['1', '10000000'], invalid: ['0', '10000001'] },
  CACHE_MAX_BYTES: { valid: ['1KB', '1024', '64GB'], invalid: ['1023', '65GB', '68719476737'] },
  PORT: { valid: ['0', '65535'], invalid: ['-1', '65536'] },
  EVENTS_MAX_STREAMS: { valid: ['0', '1', '100000'], invalid: ['-1', '0.5', '100001'] },
  CLIENT_RATE_LIMIT: { valid: ['0', '1', '100000'], invalid: ['-1', '0.5', '100001'] },
  CLIENT_MAX_IN_FLIGHT: { valid: ['0', '1', '100000'], invalid: ['-1', '0.5', '100001'] },
  CLIENT_QUOTA_SHARE: {
    valid: ['1%', '50%', '100%'],
    invalid: ['0%', '101%', '0.5%', '50', '%', '-1%', '1 %'],
  },
  ADMIN_PORT: { valid: ['0', '65535'], invalid: ['-1', '65536'] },
  DRAIN_DELAY: { valid: ['0', '10m'], invalid: ['600001ms'] },
  DRAIN_TIMEOUT: { valid: ['0', '1h'], invalid: ['3600001ms'] },
}

await t.test('every setting has its documented default', async (t) => {
  t.strictSame(
    ALL_SETTINGS.map((setting) => [setting.name, setting.default]),
    Object.entries(DEFAULTS),
  )
})

await t.test('every default and example is valid', async (t) => {
  const invalid = ALL_SETTINGS.filter(({ parse, example }) => example === '' || parse(example) === undefined)
  t.strictSame(invalid, [])
})

await t.test('every setting has a description in sentences and a text for what is expected', async (t) => {
  const without = ALL_SETTINGS.filter(
    ({ description, expected }) => !/^[A-Z].+\.$/.test(description) || !/^\S.{5,}[^.\s]$/.test(expected),
  )
  t.strictSame(
    without.map(({ name }) => name),
    [],
  )
})

await t.test('every setting is declared once', async (t) => {
  t.equal(new Set(NAMES).size, NAMES.length)
})

await t.test('bounds are inclusive', async (t) => {
  const bounded = ALL_SETTINGS.filter(({ expected }) => / from \S+ .*to /.test(expected))
  t.strictSame(
    Object.keys(BOUNDS),
    bounded.map(({ name }) => name),
    'every setting with bounds is tested',
  )
  const settingNamed = (name: string) =>
    ALL_SETTINGS.find((setting) => setting.name === name) as Setting<unknown>
  const verdicts = (kind: 'valid' | 'invalid') =>
    Object.entries(BOUNDS).flatMap(([name, texts]) =>
      texts[kind].map((text) => [name, text, settingNamed(name).parse(text) === undefined ? 1 : 0]),
    )
  t.strictSame(
    verdicts('valid').filter(([, , count]) => count !== 0),
    [],
  )
  t.strictSame(
    verdicts('invalid').filter(([, , count]) => count !== 1),
    [],
  )
})

await t.test('docs/configuration.md has a table per group with every setting', async (t) => {
  const section = /<!-- settings -->([^]*)<!-- \/settings -->/.exec(read('docs/configuration.md'))?.[1] ?? ''
  const row = ({ name, default: text, description }: Setting<unknown>) =>
    `| \`${name}\` | ${text === null ? '–' : `\`${text}\``} | ${description} |`
  const expected = Object.entries(SETTINGS).flatMap(([group, tree]) => [
    `### ${GROUP_TITLES[group as keyof typeof SETTINGS]}`,
    ...settingsIn(tree).map(row),
  ])
  const lines = section.split('\n').filter((line) => line.startsWith('#') || line.startsWith('| `'))
  t.strictSame(lines, expected, 'run `npm run docs:settings` after a change')
})

await t.test('.env.example', async (t) => {
  const text = read('.env.example')

  await t.test(
    '.env.example has every setting with its description and its default or example',
    async (t) => {
      const blocks = [...text.matchAll(/^# (.+)\n(#?)([A-Z_]+)=(.*)$/gm)].map((match) => match.slice(1))
      const expected = ALL_SETTINGS.map(({ name, description, example }) => [
        description,
        name === 'TOMTOM_API_KEY' ? '' : '#',
        name,
        example,
      ])
      t.strictSame(blocks, expected, 'run `npm run docs:settings` after a change')
      const assigned = [...text.matchAll(/^#?\s*([A-Z_]+)=/gm)].map(([, name]) => name)
      t.strictSame(assigned, NAMES, 'no assignment lacks its description')
    },
  )

  await t.test('.env.example is an environment with the defaults', async (t) => {
    const assignments = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    const environment = Object.fromEntries(assignments.map((line) => line.split('=', 2))) as Environment
    const config = loadConfig(environment, files())
    t.strictSame({ ...config, apiKey: null }, { ...load(), apiKey: null })
  })

  await t.test('the key of .env.example is a placeholder', async (t) => {
    t.match(text, /^TOMTOM_API_KEY=(your|put|replace|change)\b.*-/m)
  })

  await t.test('.env.example has only headings, comments, assignments and blank lines', async (t) => {
    const other = text.split('\n').filter((line) => !/^(|##? .+|#?[A-Z_]+=\S+)$/.test(line))
    t.strictSame(other, [])
    t.ok(text.endsWith('\n'))
  })
})
