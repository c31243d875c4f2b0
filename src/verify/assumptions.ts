/** What the proxy assumes of upstream: ids and sentences, in the order of the report. */
export const ASSUMPTIONS = {
  sums: 'the states of a connector add up to its total and to its power levels',
  'connector-set-drops': 'connectorSet removes the connectors of other types',
  'connector-set-untouched': 'connectorSet leaves the connectors that it keeps as they are',
  'connector-set-repeated': 'a repeated connectorSet means the same as a comma-separated list',
  'connector-set-case': 'connector types are compared exactly',
  'connector-set-unknown': 'an unknown connector type matches nothing and is no error',
  'power-filter': 'a power bound filters as POWER_FILTER says',
  'power-closed': 'the range of powers includes its bounds',
  'power-both': 'both bounds together keep what is within both',
  'power-min-over-max': 'minPowerKW above maxPowerKW is a 400',
  'power-negative': 'a negative power is a 400',
  'power-text': 'a power that is no number is a 400',
  'power-twice': 'a power bound given twice is a 400',
  'unknown-id': 'an unknown id is a 200 without connectors',
  'missing-id': 'a missing id is a 400',
  'wrong-ext': 'another extension than json and xml is a 400',
  post: 'POST is a 405',
  head: 'HEAD is a 405',
  xml: 'the XML has the elements and the order of the XML that the proxy writes',
  'tracking-id-echoed': 'a valid Tracking-ID is returned',
  'tracking-id-replaced': 'a malformed Tracking-ID is replaced',
  cors: 'an answer allows every origin',
  'cache-control': 'an answer has Cache-Control: no-cache',
  etag: 'an answer has no ETag',
  gzip: 'an answer is compressed with gzip if that is accepted',
  numbers: 'numbers are written as the proxy writes them, powers with a fraction',
} as const

export type AssumptionId = keyof typeof ASSUMPTIONS

export type Verdict = 'confirmed' | 'contradicted' | 'inconclusive' | 'not tried'

/** How upstream treats a power bound; `none`: the bound has no effect. */
export const READINGS = ['recount', 'levels', 'connectors', 'none'] as const
export type Reading = (typeof READINGS)[number]

export interface Finding {
  readonly verdict: Verdict
  /** What was seen, for the operator. */
  readonly seen: string
  /** Of `power-filter` alone; null if none of the readings fits, or more than one. */
  readonly reading?: Reading | null
}

export const confirmed = (seen: string): Finding => ({ verdict: 'confirmed', seen })
export const contradicted = (seen: string): Finding => ({ verdict: 'contradicted', seen })
export const inconclusive = (seen: string): Finding => ({ verdict: 'inconclusive', seen })

export type Findings = Partial<Record<AssumptionId, Finding>>
