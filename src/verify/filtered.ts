import { isDeepStrictEqual } from 'node:util'
import type { Availability } from '../availability/model.ts'
import type { AssumptionId, Finding, Findings } from './assumptions.ts'
import { inconclusive } from './assumptions.ts'
import type { Reply, Request } from './client.ts'
import type { Full, Stations } from './stations.ts'
import { answerIn, queryOf } from './stations.ts'

/** Whether the response is this answer; the order of members does not count. */
export function isAnswer(reply: Reply, expected: Availability): boolean {
  return isDeepStrictEqual(answerIn(reply, expected.chargingAvailability), expected)
}

/** A response in a few words. */
export function summaryOf(reply: Reply, id: string): string {
  if (reply.status !== 200) return `status ${reply.status}`
  const answer = answerIn(reply, id)
  if (answer === null) return 'a 200 that is not an answer for this station'
  const types = answer.connectors.map(({ type, total }) => `${type} (${String(total)})`)
  return types.length === 0 ? 'no connectors' : `connectors ${types.join(', ')}`
}

export const UNSETTLED = 'the full answers before and after differed in all tries; try again later'

/** Compares the responses to filters with the full answer. `judge` gives a finding for each assumption. */
export async function compareFilters(
  stations: Stations,
  {
    id,
    label,
    filters,
  }: { readonly id: string; readonly label: AssumptionId; readonly filters: readonly string[] },
  judge: (full: Full, replies: readonly Reply[]) => Findings,
): Promise<Findings | null> {
  const requests = filters.map((filter): Request => ({ label, query: queryOf(id, filter) }))
  return stations.compare(id, requests, (full, replies) => {
    const result = judge(full, replies)
    const isContradicted = Object.values(result).some(({ verdict }: Finding) => verdict === 'contradicted')
    return { result, isContradicted }
  })
}

/** The same finding for several assumptions. */
export function forAll(ids: readonly AssumptionId[], seen: string): Findings {
  return Object.fromEntries(ids.map((id) => [id, inconclusive(seen)]))
}
