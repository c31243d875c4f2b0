/**
 * Ways in which the endpoint could differ from what the proxy assumes of it. Each breaks one assumption that
 * `npm run verify` examines, and changes nothing else:
 *
 * - `miscounted`: totals are one too high
 * - `connector-set-ignored`, `connector-set-changes` (drops the rows of the connectors that it keeps),
 *   `connector-set-first` (reads only the first of repeated parameters), `connector-set-any-case`,
 *   `connector-set-checked` (an unknown type is a 400)
 * - `power-levels`, `power-connectors`, `power-none`: the other readings of a power bound; `power-total`: one that is none
 *   of them, with only `total` recomputed
 * - `power-open`: bounds are not included; `power-max-only`: with both bounds the lower one has no effect
 * - `power-min-over-max`, `power-negative`, `power-text`, `power-twice`: such bounds are no errors
 * - `unknown-id-404`, `missing-id`, `any-ext`, `post`, `head`: other answers than 200, 400, 400, 405, 405
 * - `xml-order`: connectors before the id; `numbers`: whole powers without a fraction
 * - `tracking-id-new`: never echoed; `tracking-id-any`: echoed though malformed
 * - `no-cors`, `cacheable`, `etag`, `no-gzip`
 * - `roll-out`: of every station two versions by turns, call by call; of a station with one connector, one is empty
 */
export const DEVIATIONS = [
  'miscounted',
  'connector-set-ignored',
  'connector-set-changes',
  'connector-set-first',
  'connector-set-any-case',
  'connector-set-checked',
  'power-levels',
  'power-connectors',
  'power-none',
  'power-total',
  'power-open',
  'power-max-only',
  'power-min-over-max',
  'power-negative',
  'power-text',
  'power-twice',
  'unknown-id-404',
  'missing-id',
  'any-ext',
  'post',
  'head',
  'xml-order',
  'numbers',
  'tracking-id-new',
  'tracking-id-any',
  'no-cors',
  'cacheable',
  'etag',
  'no-gzip',
  'roll-out',
] as const

export type Deviation = (typeof DEVIATIONS)[number]
export type Deviations = ReadonlySet<Deviation>

export const NO_DEVIATIONS: Deviations = new Set()
