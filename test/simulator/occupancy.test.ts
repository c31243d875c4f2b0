/*
 * The rates and shares of the recording that occupancy.ts describes, measured as there: every half hour from 07 to 21 h,
 * counts summed over the connectors of a station.
 */
import t from 'tap'
import type { Count } from '../../src/simulator/model.ts'
import { COUNTS } from '../../src/simulator/model.ts'
import { changesPerHour, dailyFactor, SLOT_MS, statesAt } from '../../src/simulator/occupancy.ts'
import { generated } from './support.ts'

const HOUR_MS = 3_600_000
const DAY = Date.UTC(2026, 6, 23)
const DAYS = 2
const HALF_HOURS = Array.from({ length: DAYS * 48 }, (_, i) => DAY + i * (HOUR_MS / 2))
const isRecorded = (wallMs: number) =>
  wallMs % (24 * HOUR_MS) >= 7 * HOUR_MS && wallMs % (24 * HOUR_MS) <= 21 * HOUR_MS
const IDS = Array.from({ length: 300 }, (_, i) => `s-${i}`)

interface Sample {
  readonly text: string
  readonly counts: Record<Count, number>
  readonly total: number
}

function sampleOf(id: string, at: number): Sample {
  const { connectors } = generated(id, at)
  const sum = (name: Count) =>
    connectors.reduce((all, { availability }) => all + availability.current[name], 0)
  const counts = Object.fromEntries(COUNTS.map((name) => [name, sum(name)])) as Record<Count, number>
  return {
    text: JSON.stringify(connectors),
    counts,
    total: connectors.reduce((all, { total }) => all + total, 0),
  }
}

/** By station the samples of the recorded hours, and pairs of them half an hour apart. */
const samples = IDS.map((id) => HALF_HOURS.filter(isRecorded).map((at) => ({ at, ...sampleOf(id, at) })))
const all = samples.flat()
const pairs = samples.flatMap((of) =>
  of.slice(1).map((sample, i) => [of[i] as (typeof of)[number], sample] as const),
)
const steps = pairs.filter(([before, after]) => after.at - before.at === HOUR_MS / 2)
const differing = (of: typeof steps) =>
  of.filter(([before, after]) => before.text !== after.text).length / of.length
const quantileOf = (values: readonly number[], part: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? Number.NaN
const isAbout = (value: number, expected: number, tolerance: number) =>
  Math.abs(value / expected - 1) <= tolerance
const shareOf = (condition: (sample: Sample) => boolean) => all.filter(condition).length / all.length

await t.test('a quarter of the answers differ from the one half an hour before, most at noon', async (t) => {
  const share = differing(steps)
  t.ok(isAbout(share, 0.244, 0.1), `${share}`)
  const shareAt = (hour: number) =>
    differing(steps.filter(([before]) => Math.floor((before.at % (24 * HOUR_MS)) / HOUR_MS) === hour))
  const [noon, evening] = [shareAt(12), shareAt(20)]
  t.ok(isAbout(noon, 0.33, 0.2) && isAbout(evening, 0.15, 0.2), `${noon} ${evening}`)
})

await t.test('stations change at different rates, and one in twelve never', (t) => {
  const rates = Array.from({ length: 4_000 }, (_, i) => changesPerHour(`station ${i}`))
  const found = [
    quantileOf(rates, 0.5),
    quantileOf(rates, 0.9),
    Math.max(...rates),
    rates.filter((rate) => rate === 0).length / rates.length,
  ]
  const recorded = [0.42, 1.44, 2.9, 7 / 82]
  t.strictSame(
    found.filter((value, i) => !isAbout(value, recorded[i] ?? 0, 0.1)),
    [],
  )
  t.end()
})

await t.test('the states have the recorded shares', (t) => {
  const found = {
    reserved: shareOf(({ counts }) => counts.reserved > 0),
    unknown: shareOf(({ counts }) => counts.unknown > 0),
    allUnknown: shareOf(({ counts, total }) => counts.unknown === total),
    outOfService: shareOf(({ counts }) => counts.outOfService > 0),
  }
  const recorded = { reserved: 0.044, unknown: 0.177, allUnknown: 0.04, outOfService: 0.19 }
  const off = Object.entries(recorded).filter(
    ([name, share]) => !isAbout(found[name as keyof typeof found], share, 0.35),
  )
  t.strictSame(off, [], JSON.stringify(found))
  t.end()
})

await t.test('a change is one of few points', (t) => {
  const moved = steps.map(([before, after]) => Math.abs(before.counts.available - after.counts.available))
  const shares = [0, 1, 2].map((by) => moved.filter((points) => points === by).length / moved.length)
  const recorded = [0.76, 0.13, 0.05]
  t.strictSame(
    shares.filter((share, i) => !isAbout(share, recorded[i] ?? 0, 0.25)),
    [],
    String(shares),
  )
  t.end()
})

await t.test('a station changes at most once in three minutes, and never at speed 0', (t) => {
  const at = (ms: number, speed: number) => statesAt('a', 20, DAY + ms, speed).join()
  const moments = Array.from({ length: 720 }, (_, i) => at(i * 5_000, 1_000))
  const changes = moments.flatMap((states, i) => (i > 0 && states !== moments[i - 1] ? [i] : []))
  t.strictSame(
    new Set(changes.slice(1).map((index, i) => (index - (changes[i] ?? 0)) * 5_000)),
    new Set([SLOT_MS]),
  )
  t.equal(new Set(HALF_HOURS.slice(0, 48).map((wallMs) => at(wallMs - DAY, 0))).size, 1)
  t.end()
})

await t.test('the rate follows the time of day, with its lowest recorded value at night', (t) => {
  const factors = [0, 4, 12, 20].map((hour) => dailyFactor(DAY + hour * HOUR_MS) * 0.244)
  t.strictSame(
    factors.map((factor) => factor.toFixed(2)),
    ['0.15', '0.15', '0.33', '0.15'],
  )
  t.end()
})
