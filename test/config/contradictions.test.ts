import t from 'tap'
import { heapWarning } from '../../src/config/contradictions.ts'
import type { Environment } from '../../src/config/load.ts'
import { KEY, load, problems } from './support.ts'

const contradicts = (environment: Environment) => problems({ TOMTOM_API_KEY: KEY, ...environment })

/** Each rule: what is rejected, and what is at the bound and valid. */
const RULES: [problem: RegExp, rejected: Environment[], valid: Environment[]][] = [
  [
    /^DRAIN_DELAY: expected less than DRAIN_TIMEOUT, which includes it, got DRAIN_DELAY=\d+m?s, DRAIN_TIMEOUT=\d+s?$/,
    [
      { DRAIN_DELAY: '10s' },
      { DRAIN_DELAY: '2s', DRAIN_TIMEOUT: '2s' },
      { DRAIN_DELAY: '1ms', DRAIN_TIMEOUT: '0' },
    ],
    [{ DRAIN_DELAY: '9999ms' }, { DRAIN_TIMEOUT: '0' }],
  ],
  [
    /^UPSTREAM_SOFT_TIMEOUT: expected less than UPSTREAM_TIMEOUT, got UPSTREAM_SOFT_TIMEOUT=\d+m?s, UPSTREAM_TIMEOUT=\d+m?s$/,
    [{ UPSTREAM_SOFT_TIMEOUT: '3s' }, { UPSTREAM_SOFT_TIMEOUT: '500ms', UPSTREAM_TIMEOUT: '500ms' }],
    [{ UPSTREAM_SOFT_TIMEOUT: '2999ms' }, { UPSTREAM_TIMEOUT: '500ms' }],
  ],
  [
    /^CACHE_MAX_TTL: expected at least CACHE_TTL, .*, got CACHE_MAX_TTL=1m, CACHE_TTL=2m, UPSTREAM_QUOTA=100\/day$/,
    [{ UPSTREAM_QUOTA: '100/day', CACHE_TTL: '2m', CACHE_MAX_TTL: '1m' }],
    [
      { CACHE_TTL: '2m', CACHE_MAX_TTL: '1m' },
      { UPSTREAM_QUOTA: '100/day', CACHE_TTL: '1m', CACHE_MAX_TTL: '1m' },
    ],
  ],
  [
    /^ADMIN_HOST and ADMIN_PORT: expected another address .*, got ADMIN_HOST=\S+, ADMIN_PORT=\d+, HOST=\S+, PORT=\d+$/,
    [
      { PORT: '8081' },
      { HOST: '127.0.0.1', PORT: '8081' },
      { HOST: 'localhost', PORT: '8081' },
      { HOST: '0.0.0.0', PORT: '8081' },
      { HOST: '127.0.0.1', ADMIN_HOST: '::', ADMIN_PORT: '8080' },
      { HOST: '::1', ADMIN_HOST: '::', ADMIN_PORT: '8080' },
    ],
    [
      { PORT: '0', ADMIN_PORT: '0' },
      { HOST: '127.0.0.2', PORT: '8081' },
      { HOST: '0.0.0.0', ADMIN_HOST: '::1', ADMIN_PORT: '8080' },
    ],
  ],
]

for (const [problem, rejected, valid] of RULES) {
  await t.test(`contradictory settings are rejected: ${problem.source}`, async (t) => {
    t.match(
      rejected.map(contradicts),
      rejected.map(() => [problem]),
    )
    t.strictSame(
      valid.map(contradicts),
      valid.map(() => []),
    )
  })
}

await t.test(
  'contradictions are reported together with invalid settings that they do not compare',
  async (t) => {
    const both = { DRAIN_DELAY: '10s', PORT: 'x', STATE_DIR: '/state', REDIS_URL: 'redis://127.0.0.1' }
    t.match(contradicts(both), [
      /^PORT: /,
      /^DRAIN_DELAY: /,
      /^STATE_DIR and REDIS_URL: expected one of them, got both \(.* an empty STATE_DIR= in .env unsets it\)$/,
    ])
    t.match(contradicts({ DRAIN_DELAY: '10s', DRAIN_TIMEOUT: 'x' }), [/^DRAIN_TIMEOUT: /])
    t.equal(contradicts({ DRAIN_DELAY: '10s', DRAIN_TIMEOUT: 'x' }).length, 1)
  },
)

await t.test('a cache that does not fit into the heap is a warning', async (t) => {
  const MB = 2 ** 20
  const config = load({ CACHE_MAX_BYTES: '100MB' })
  t.equal(heapWarning(config, 250 * MB), null)
  t.equal(
    heapWarning(config, 250 * MB - 1),
    'CACHE_MAX_BYTES is too large for the heap limit of 249MB: at most 99MB fits',
  )
})
