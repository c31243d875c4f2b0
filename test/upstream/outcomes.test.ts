import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { AnotherStationError } from '../../src/availability/decode.ts'
import { allowsStaleFallback, CACHE_RULES, ServiceError, STATUS_OF } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { UPSTREAM_OUTCOMES } from '../../src/events.ts'
import { circuitOutcome, OUTCOMES, renderOutcomeTable } from '../../src/upstream/outcomes.ts'
import { upstreamErrorOf } from '../../src/upstream/tomtom/error.ts'
import type { Failure } from './doubles.ts'
import { broken, failure, limited, unreached } from './doubles.ts'

const FAILURES = UPSTREAM_OUTCOMES.filter((outcome): outcome is Failure => OUTCOMES[outcome].code !== null)

await t.test('each outcome has the code, and so the status, that clients get', async (t) => {
  t.strictSame(
    Object.fromEntries(
      FAILURES.map((outcome) => [outcome, [failure(outcome).code, failure(outcome).status]]),
    ),
    {
      bad_request: ['InvalidParameter', 400],
      not_found: ['NotFound', 404],
      throttled: ['TooManyRequests', 429],
      refused: ['UpstreamRefused', 502],
      server_error: ['UpstreamFailed', 502],
      invalid: ['UpstreamFailed', 502],
      timeout: ['UpstreamTimeout', 504],
      network: ['UpstreamFailed', 502],
    },
  )
})

await t.test('only a rejection of the key or its rate pauses all calls', async (t) => {
  t.strictSame(
    FAILURES.filter((outcome) => failure(outcome).isRejection),
    ['throttled', 'refused'],
  )
})

await t.test('an error counts for, against or not at all for the circuit', async (t) => {
  const errors: readonly (readonly [string, unknown])[] = [
    ...FAILURES.map((outcome) => [outcome, failure(outcome)] as const),
    ['another 4xx', failure('invalid', { upstreamStatus: 414 })],
    ['a redirect', failure('invalid', { upstreamStatus: 302 })],
    ['an answer for another station', upstreamErrorOf(new AnotherStationError())],
    ['a limit of this service', limited()],
    ['a defect', new TypeError('a mistake')],
    ['no error object', 'thrown'],
  ]
  t.strictSame(Object.fromEntries(errors.map(([name, error]) => [name, circuitOutcome(error)])), {
    bad_request: 'success',
    not_found: 'success',
    throttled: 'ignored',
    refused: 'ignored',
    server_error: 'failure',
    invalid: 'failure',
    timeout: 'failure',
    network: 'failure',
    'another 4xx': 'success',
    'a redirect': 'failure',
    'an answer for another station': 'success',
    'a limit of this service': 'ignored',
    'a defect': 'ignored',
    'no error object': 'ignored',
  })
})

await t.test(
  'a second attempt follows a gateway status and a broken connection, and nothing else',
  async (t) => {
    const statuses = [500, 501, 502, 503, 504, 596]
    t.strictSame(
      statuses.filter((upstreamStatus) => failure('server_error', { upstreamStatus }).isTransient),
      [502, 503, 504],
    )
    t.equal(broken().isTransient, true)
    t.equal(unreached().isTransient, false)
    t.strictSame(
      FAILURES.filter((outcome) => failure(outcome).isTransient),
      [],
    )
  },
)

await t.test('an error is frozen, because all waiters of a call share it', async (t) => {
  t.ok(Object.isFrozen(failure('timeout')))
})

await t.test('a stale answer replaces every 429 and 5xx, and no other error', async (t) => {
  const codes = (Object.keys(STATUS_OF) as ErrorCode[]).filter((code) => code !== 'TooManyStreams')
  t.strictSame(
    codes.filter((code) => allowsStaleFallback(new ServiceError(code))),
    codes.filter((code) => STATUS_OF[code] === 429 || STATUS_OF[code] >= 500),
  )
})

await t.test('the cache keeps a 400 or 404 as such, and backs off after a call that failed', async (t) => {
  const codesWith = (station: string) =>
    Object.entries(CACHE_RULES).flatMap(([code, rule]) => (rule.station === station ? [code] : []))
  t.strictSame(codesWith('negative'), ['InvalidParameter', 'NotFound'])
  t.strictSame(codesWith('back-off'), ['InternalError', 'UpstreamFailed', 'UpstreamTimeout'])
})

await t.test('the rendered table has a row for each outcome', async (t) => {
  const rows = renderOutcomeTable().split('\n').slice(2)
  t.strictSame(
    rows.map((row) => /^\| `(\w+)` \|/.exec(row)?.[1]),
    [...UPSTREAM_OUTCOMES],
  )
  t.equal(rows[4], '| `throttled` | `TooManyRequests` | ignored | yes | – | – | yes |')
  t.equal(rows[6], '| `server_error` | `UpstreamFailed` | failure | – | 502, 503, 504 | back-off | yes |')
})

const DOCUMENT = new URL('../../docs/architecture.md', import.meta.url)
const skip = !existsSync(DOCUMENT) && 'docs/architecture.md does not exist'

await t.test(
  'docs/architecture.md has the table of outcomes (npm run docs:outcomes)',
  { skip },
  async (t) => {
    const [, documented] =
      /<!-- outcomes:start -->([^]*)<!-- outcomes:end -->/.exec(readFileSync(DOCUMENT, 'utf8')) ?? []
    // A formatter may align the columns.
    const cells = (table = '') => table.trim().replaceAll(/-{3,}/g, '---').replaceAll(/ +/g, ' ')
    t.equal(cells(documented), cells(renderOutcomeTable()))
  },
)
