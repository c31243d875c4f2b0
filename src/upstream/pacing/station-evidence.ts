/**
 * What the answers of one station have shown of the logarithm of its load, apart from what is expected of any station: a
 * value, and the information (1 / variance) with which it counts. Both are kept in one small integer, 0 for nothing: V8
 * keeps it in the cache entry itself.
 */
export interface StationEvidence {
  readonly value: number
  readonly information: number
}

const [MIN_VALUE, MAX_VALUE] = [-12, 8]
const VALUE_UNIT = 1 / 128
const VALUES = 4_096
const INFORMATION_UNIT = 1 / 16
/** About 30 calls; older ones fade. */
export const MAX_INFORMATION = 8

export function packEvidence({ value, information }: StationEvidence): number {
  const bounded = Math.max(MIN_VALUE, Math.min(MAX_VALUE, value))
  const units = Math.round(Math.min(MAX_INFORMATION, information) / INFORMATION_UNIT)
  return units * VALUES + Math.round((bounded - MIN_VALUE) / VALUE_UNIT)
}

export function unpackEvidence(packed: number): StationEvidence {
  const information = Math.min(MAX_INFORMATION, Math.floor(packed / VALUES) * INFORMATION_UNIT)
  return { value: MIN_VALUE + (packed % VALUES) * VALUE_UNIT, information }
}
