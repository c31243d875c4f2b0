import { isDeepStrictEqual } from 'node:util'
import { renderJson } from '../availability/json.ts'
import type { Availability } from '../availability/model.ts'
import { COUNTS, isObject, rowsOf } from '../availability/model.ts'
import { renderXml } from '../availability/xml.ts'
import type { Finding, Findings } from './assumptions.ts'
import { confirmed, contradicted, inconclusive } from './assumptions.ts'
import type { Reply } from './client.ts'
import { forAll, UNSETTLED } from './filtered.ts'
import { powersOf } from './power-candidates.ts'
import type { Full, Stations } from './stations.ts'
import { queryOf } from './stations.ts'
import type { Element } from './xml-tree.ts'
import { parseXml } from './xml-tree.ts'

/** Upstream's XML of a station against the proxy's of the same answer. */
export async function checkXml(stations: Stations): Promise<Findings> {
  const station = stations.usable.toSorted((a, b) => powersOf(b).length - powersOf(a).length)[0]
  if (station === undefined) return forAll(['xml'], 'name a station with connectors')
  const id = station.chargingAvailability
  const request = { label: 'xml', ext: 'xml', query: queryOf(id) }
  const finding = await stations.compare(id, [request], ({ availability }, replies) => {
    const result = compareXml((replies as [Reply])[0], renderXml(availability))
    return { result, isContradicted: result.verdict === 'contradicted' }
  })
  return finding === null ? forAll(['xml'], UNSETTLED) : { xml: finding }
}

function compareXml({ status, text }: Reply, expected: string): Finding {
  if (status !== 200) return contradicted(`status ${status}`)
  const [theirs, ours] = [parseXml(text), parseXml(expected) as Element]
  if (theirs === null) return contradicted('not well-formed XML')
  if (isDeepStrictEqual(theirs, ours)) return confirmed('the same tree')
  return contradicted(firstDifference(theirs, ours, ''))
}

/** Where two trees differ first, in document order. */
function firstDifference(theirs: Element, expected: Element, path: string): string {
  const here = `${path}/${expected.name}`
  if (theirs.name !== expected.name) return `${here}: upstream has <${theirs.name}>`
  for (const [at, child] of expected.children.entries()) {
    const other = theirs.children[at]
    if (other === undefined) return `${here}: upstream has no <${child.name}> there`
    if (!isDeepStrictEqual(other, child)) return firstDifference(other, child, here)
  }
  const more = theirs.children[expected.children.length]
  return more === undefined
    ? `${here}: upstream has another text`
    : `${here}: upstream also has <${more.name}>`
}

/** Whether the counts of every answer add up. */
export function checkSums({ fulls }: Stations): Findings {
  const connectors = fulls.flatMap(({ availability }) => availability.connectors)
  const complete = connectors.filter((one) => rowsOf(one).length > 0)
  if (complete.length === 0) return { sums: inconclusive('name a station with power levels') }
  const wrong = connectors.find((one) => !addsUp(one))
  const seen = `${connectors.length} connectors in ${fulls.length} answers`
  if (wrong === undefined) return { sums: confirmed(seen) }
  return {
    sums: contradicted(`${wrong.type} with total ${String(wrong.total)}: ${sumsOf(wrong).join(', ')}`),
  }
}

type Connector = Availability['connectors'][number]

function addsUp(connector: Connector): boolean {
  return sumsOf(connector).every((sum) => sum === connector.total)
}

/** The sum of the states, and if there are power levels, the sum of theirs. */
function sumsOf(connector: Connector): number[] {
  const { current } = connector.availability
  const states = isObject(current) ? Object.keys(current) : [...COUNTS]
  const rows = rowsOf(connector)
  const sumOf = (counts: unknown) => states.reduce((sum, name) => sum + countOf(counts, name), 0)
  return [
    sumOf(current),
    ...(rows.length === 0 ? [] : [rows.reduce<number>((sum, row) => sum + sumOf(row), 0)]),
  ]
}

/** What is no number is no count. */
function countOf(counts: unknown, name: string): number {
  const count = isObject(counts) ? counts[name] : undefined
  return typeof count === 'number' ? count : 0
}

const STRING = /"(?:[^"\\]|\\.)*"/g
const NUMBER = /-?\d[\d.eE+-]*/g

function numbersIn(json: string): readonly string[] {
  return json.replace(STRING, '""').match(NUMBER) ?? []
}

/** Whether the proxy writes every number of the answers as upstream does. */
export function checkNumbers({ fulls }: Stations): Findings {
  for (const { availability, reply } of fulls) {
    const ours = numbersIn(renderJson(availability))
    const theirs = numbersIn(reply.text)
    const at = theirs.findIndex((number, index) => number !== ours[index])
    if (at !== -1) return { numbers: contradicted(`upstream writes ${theirs[at]}, the proxy ${ours[at]}`) }
  }
  const powers = fulls.flatMap(({ availability }) => powersOf(availability))
  const whole = powers.find((power) => Number.isInteger(power))
  if (whole === undefined) return { numbers: inconclusive('name a station with a power of whole kW') }
  return { numbers: confirmed(`${whole} kW is written ${whole}.0`) }
}

/** The headers of the unfiltered answers. */
export function checkHeaders({ fulls }: Stations): Findings {
  return {
    cors: header(fulls, 'access-control-allow-origin', (value) => value === '*'),
    'cache-control': header(fulls, 'cache-control', (value) => /\bno-cache\b/.test(value ?? '')),
    etag: header(fulls, 'etag', (value) => value === undefined),
    gzip: gzip(fulls),
  }
}

function header(fulls: readonly Full[], name: string, isAsAssumed: (value?: string) => boolean): Finding {
  const values = fulls.map(({ reply }) => reply.headers[name])
  if (values.length === 0) return inconclusive('there was no answer')
  const wrong = values.findIndex((value) => !isAsAssumed(value))
  const value = values[Math.max(0, wrong)]
  const seen = value === undefined ? `no ${name}` : `${name}: ${value}`
  return wrong === -1 ? confirmed(seen) : contradicted(seen)
}

/** Upstream may leave small answers uncompressed, so one compressed answer is enough. */
function gzip(fulls: readonly Full[]): Finding {
  const codings = fulls.map(({ reply }) => reply.headers['content-encoding'])
  if (codings.length === 0) return inconclusive('there was no answer')
  const largest = Math.max(...fulls.map(({ reply }) => reply.text.length))
  if (codings.includes('gzip')) return confirmed('content-encoding: gzip')
  return contradicted(`no answer is compressed, the largest has ${largest} bytes`)
}
