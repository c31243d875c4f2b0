import t from 'tap'
import {
  MAX_RETRY_AFTER_MS,
  parseRetryAfter,
  MIN_RETRY_AFTER_MS,
} from '../../../src/upstream/tomtom/retry-after.ts'

const NOW = Date.UTC(2026, 0, 15, 12)
const parse = (header: string | undefined) => parseRetryAfter(header, NOW)
const httpDate = (ms: number) => new Date(ms).toUTCString()

await t.test('Retry-After is bounded by 1 s and 5 min', async (t) => {
  t.equal(MIN_RETRY_AFTER_MS, 1_000)
  t.equal(MAX_RETRY_AFTER_MS, 300_000)
})

await t.test('Retry-After in seconds is parsed and clamped', async (t) => {
  for (const [header, ms] of [
    ['0', 1_000],
    ['1', 1_000],
    ['2', 2_000],
    ['007', 7_000],
    ['299', 299_000],
    ['300', 300_000],
    ['301', 300_000],
    ['31536000', 300_000],
    ['9'.repeat(400), 300_000],
    [' 5 ', 5_000],
  ] as const) {
    t.equal(parse(header), ms, header.slice(0, 20))
  }
})

await t.test('Retry-After as a date is relative to the wall clock and clamped', async (t) => {
  for (const [inMs, ms] of [
    [-86_400_000, 1_000],
    [-1_000, 1_000],
    [0, 1_000],
    [1_000, 1_000],
    [2_000, 2_000],
    [299_000, 299_000],
    [300_000, 300_000],
    [301_000, 300_000],
    [31_536_000_000, 300_000],
  ] as const) {
    t.equal(parse(httpDate(NOW + inMs)), ms, String(inMs))
  }
  t.equal(parseRetryAfter(httpDate(NOW + 2_000), NOW + 500), 1_500, 'between two seconds')
})

await t.test('all three forms of an HTTP date mean UTC in every time zone', async (t) => {
  const before = process.env['TZ']
  t.teardown(() => {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
  })
  for (const zone of ['UTC', 'America/New_York', 'Asia/Tokyo']) {
    process.env['TZ'] = zone
    for (const header of [
      'Thu, 15 Jan 2026 12:00:30 GMT',
      'Thursday, 15-Jan-26 12:00:30 GMT',
      'Thu Jan 15 12:00:30 2026',
    ]) {
      t.equal(parse(header), 30_000, `${header} in ${zone}`)
    }
  }
  t.equal(parseRetryAfter('Mon Jan  5 12:00:30 2026', Date.UTC(2026, 0, 5, 12)), 30_000, 'a day of one digit')
})

await t.test('a Retry-After that is absent or invalid is undefined', async (t) => {
  for (const header of [
    undefined,
    '',
    ' ',
    'soon',
    'soon 5',
    '-1',
    '+5',
    '5.5',
    '5s',
    '5 seconds',
    '5, 10',
    '1 2',
    '0x10',
    '1e3',
    'NaN',
    'Infinity',
    'null',
    'Thu, 99 Foo 2026 12:00:30 GMT',
    'May 5',
  ]) {
    t.equal(parse(header), undefined, JSON.stringify(header))
  }
})
