import t from 'tap'
import { decodeAvailability, MAX_CONTAINERS } from '../../src/availability/decode.ts'
import type { Format } from '../../src/availability/model.ts'
import { renderXml } from '../../src/availability/xml.ts'
import { Answer, MAX_RENDERING_BYTES } from '../../src/cache/answer.ts'
import { NO_FILTER } from '../support/arbitraries.ts'
import { station } from '../support/stations.ts'

const MIB = 2 ** 20

/**
 * A body of a megabyte that repeats a piece in an undocumented member, or as the rows of a connector; at most so often.
 * `#` in the piece is a number that differs.
 */
function bodyOf(piece: string, member: 'note' | 'perPowerLevel', most = MIB): string {
  const length = Math.min(most, Math.floor((MIB - 300) / (piece.replace('#', '100000').length + 1)))
  const list = `[${Array.from({ length }, (_, i) => piece.replace('#', String(100_000 + i))).join(',')}]`
  const rows = member === 'perPowerLevel' ? list : '[]'
  const connector = `{"type":"T","availability":{"perPowerLevel":${rows}}}`
  return `{"chargingAvailability":"a","connectors":[${connector}]${member === 'note' ? `,"note":${list}` : ''}}`
}

type Result = 'ok' | 'UpstreamFailed'

function resultOf(action: () => unknown): Result {
  try {
    action()
    return 'ok'
  } catch (error) {
    if ((error as { code?: string }).code !== 'UpstreamFailed') throw error
    return 'UpstreamFailed'
  }
}

/** CPU time, because other processes of the machine would count in the time that passes. */
function cpuMs(action: () => void): number {
  const before = process.cpuUsage()
  action()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

const PIECES = [
  '1',
  '1e20',
  '{}',
  '[]',
  '[[]]',
  '"&"',
  '""',
  `"${'&'.repeat(1_000)}"`,
  '{"powerKW":1}',
  '{"a":1}',
  '"%41"',
  'null',
  '"#"',
  '{"#":1}',
  '{"powerKW":#,"available":1,"occupied":2}',
]
/** Counting for coverage, which tap does unless it is told not to, doubles the time. */
const MAX_MS = process.env['_TAPJS_PROCESSINFO_COVERAGE_'] === '1' ? 200 : 50
/** The first are slower, as V8 compiles, and others are where another process shares the core's caches. */
const MAX_ATTEMPTS = 8

/** The least CPU time of some attempts, which end with the first under MAX_MS. */
function bestMs(action: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < MAX_ATTEMPTS && best >= MAX_MS; i++) best = Math.min(best, cpuMs(action))
  return best
}

await t.test('no body of a megabyte takes long, or makes a rendering over 4 MiB', async (t) => {
  const cases = PIECES.flatMap((piece) =>
    (['note', 'perPowerLevel'] as const).flatMap((member) =>
      (['json', 'xml'] as const).map((format) => [piece, member, format] as const),
    ),
  )
  const problems = cases.flatMap(([piece, member, format]) => {
    const text = bodyOf(piece, member, piece.startsWith('{') ? MAX_CONTAINERS - 10 : MIB)
    let length = 0
    const attempt = () => {
      const answer = new Answer(decodeAvailability(text, 'a'))
      length = answer.render(NO_FILTER, format, false).length
    }
    const ms = bestMs(() => resultOf(attempt))
    return ms < MAX_MS && length <= MAX_RENDERING_BYTES
      ? []
      : [`${piece.slice(0, 9)} ${member} ${format}: ${ms} ms, ${length} bytes`]
  })
  t.strictSame(problems, [])
})

await t.test(
  'a rendering of 4 MiB is served and a longer one is UpstreamFailed, in both formats',
  async (t) => {
    const overhead = (format: Format, note: string) =>
      new Answer({ ...station('a'), note }).render(NO_FILTER, format, false).length - note.length
    const results = (['json', 'xml'] as const).map((format) =>
      [-1, 0, 1].map((more) => {
        const note = 'x'.repeat(MAX_RENDERING_BYTES - overhead(format, 'x') + more)
        return resultOf(() => new Answer({ ...station('a'), note }).render(NO_FILTER, format, false))
      }),
    )
    const expected = ['ok', 'ok', 'UpstreamFailed']
    t.strictSame(results, [expected, expected])
  },
)

await t.test('characters of several bytes count all of them', async (t) => {
  const note = '⚡'.repeat(MAX_RENDERING_BYTES / 3 + 1)
  t.equal(
    resultOf(() => new Answer({ ...station('a'), note })),
    'UpstreamFailed',
  )
})

await t.test('a rendering that is too large is not made again', async (t) => {
  const answer = new Answer(decodeAvailability(bodyOf('1', 'note'), 'a'))
  const request = () => resultOf(() => answer.render(NO_FILTER, 'xml', false))
  t.equal(request(), 'UpstreamFailed')
  const bytes = answer.bytes
  const ms = cpuMs(() => t.equal(request(), 'UpstreamFailed'))
  t.ok(ms < 20, `${ms} ms`)
  t.equal(answer.bytes, bytes)
  t.equal(
    resultOf(() => answer.render(NO_FILTER, 'json', true)),
    'ok',
    'its JSON is served',
  )
})

await t.test('renderXml stops at its limit', async (t) => {
  const long = { ...station('a'), note: Array.from({ length: 100_000 }, () => 1) }
  t.equal(
    resultOf(() => renderXml(long, 10_000)),
    'UpstreamFailed',
  )
  t.equal(
    resultOf(() => renderXml(long)),
    'ok',
  )
})
