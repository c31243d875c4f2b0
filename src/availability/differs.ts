import type { Availability, Connector } from './model.ts'
import { isNumber, isObject } from './model.ts'

/**
 * Whether the number of charging points in some state differs: compares `current` of each connector. Not the text: a
 * member that differs in every answer, such as a timestamp, is no change of the availability. Neither is the order.
 */
export function countsDiffer(before: Availability, after: Availability): boolean {
  if (before.connectors.length !== after.connectors.length) return true
  return fingerprint(before) !== fingerprint(after)
}

function fingerprint({ connectors }: Availability): string {
  return JSON.stringify(connectors.map(connectorCounts).toSorted())
}

function connectorCounts({ type, availability: { current } }: Connector): string {
  const counts = isObject(current) ? Object.entries(current) : []
  const numbers = counts.filter(([, count]) => isNumber(count) && count !== 0)
  return JSON.stringify([type, numbers.map(([state, count]) => `${state}=${String(count)}`).toSorted()])
}
