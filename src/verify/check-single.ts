import { randomUUID } from 'node:crypto'
import type { AssumptionId, Finding, Findings } from './assumptions.ts'
import { confirmed, contradicted, inconclusive } from './assumptions.ts'
import type { Reply, Request, UpstreamClient } from './client.ts'
import { summaryOf } from './filtered.ts'
import type { Full } from './stations.ts'
import { answerIn, queryOf } from './stations.ts'

type Ask = Pick<UpstreamClient, 'ask'>

/** Calls whose status alone is assumed, for a station. */
const STATUSES: readonly (readonly [AssumptionId, number, (id: string) => Omit<Request, 'label'>])[] = [
  ['missing-id', 400, () => ({ query: '' })],
  ['wrong-ext', 400, (id) => ({ ext: 'txt', query: queryOf(id) })],
  ['power-min-over-max', 400, (id) => ({ query: queryOf(id, 'minPowerKW=50&maxPowerKW=22') })],
  ['power-negative', 400, (id) => ({ query: queryOf(id, 'minPowerKW=-1') })],
  ['power-text', 400, (id) => ({ query: queryOf(id, 'minPowerKW=fast') })],
  ['power-twice', 400, (id) => ({ query: queryOf(id, 'minPowerKW=1&minPowerKW=2') })],
  ['post', 405, (id) => ({ method: 'POST', query: queryOf(id) })],
  ['head', 405, (id) => ({ method: 'HEAD', query: queryOf(id) })],
]

/** One check for each call. */
export const STATUS_CHECKS = STATUSES.map(
  ([label, expected, request]) =>
    async (client: Ask, id: string): Promise<Findings> => {
      const { status } = await client.ask({ label, ...request(id) })
      return { [label]: statusFinding(status, expected) }
    },
)

function statusFinding(status: number | null, expected: number): Finding {
  if (status === null) return inconclusive('no response')
  if (status === expected) return confirmed(`status ${status}`)
  return status >= 500 ? inconclusive(`status ${status}`) : contradicted(`status ${status}`)
}

export async function checkUnknownId(client: Ask): Promise<Findings> {
  const id = `unknown-${randomUUID()}`
  const reply = await client.ask({ label: 'unknown-id', query: queryOf(id) })
  if (reply.status === null || reply.status >= 500)
    return { 'unknown-id': inconclusive(summaryOf(reply, id)) }
  const isEmpty = answerIn(reply, id)?.connectors.length === 0
  return { 'unknown-id': (isEmpty ? confirmed : contradicted)(summaryOf(reply, id)) }
}

export const VALID_TRACKING_ID = `verify-${randomUUID()}`
/** A space and an underscore are not allowed in a Tracking-ID. */
export const MALFORMED_TRACKING_ID = 'not a valid_tracking id'

export function checkEchoed(full: Full | null): Findings {
  const value = full?.reply.headers['tracking-id']
  if (full === null) return { 'tracking-id-echoed': inconclusive('there was no answer') }
  const seen = value === VALID_TRACKING_ID ? 'returned' : `tracking-id: ${value ?? 'none'}`
  return { 'tracking-id-echoed': (value === VALID_TRACKING_ID ? confirmed : contradicted)(seen) }
}

export function checkReplaced(reply: Reply | null): Findings {
  if (reply === null || reply.status === null || reply.status >= 500) {
    return { 'tracking-id-replaced': inconclusive('there was no answer') }
  }
  const value = reply.headers['tracking-id'] ?? ''
  const isReplaced = /^[a-zA-Z0-9-]{1,100}$/.test(value)
  return {
    'tracking-id-replaced': (isReplaced ? confirmed : contradicted)(`tracking-id: ${value || 'none'}`),
  }
}
