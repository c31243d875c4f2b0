import type { Test } from 'tap'
import { Agent } from 'undici'
import type { PowerFilter } from '../../src/availability/filter.ts'
import type { Deviation } from '../../src/simulator/deviations.ts'
import type { Simulator, SimulatorOptions } from '../../src/simulator/server.ts'
import type { AssumptionId, Verdict } from '../../src/verify/assumptions.ts'
import { ASSUMPTIONS } from '../../src/verify/assumptions.ts'
import type { ClientOptions, Exchange } from '../../src/verify/client.ts'
import { MAX_BODY_BYTES, UpstreamClient } from '../../src/verify/client.ts'
import type { Result } from '../../src/verify/run.ts'
import { verify } from '../../src/verify/run.ts'
import { started } from '../simulator/support.ts'

export const KEY = 'key-of-the-operator-0123456789'
/** Generated stations: together they can tell every assumption from its opposite. */
export const STATIONS = ['a', 'b', 'c', 'd']
export const ALL = Object.keys(ASSUMPTIONS) as AssumptionId[]

interface RunOptions extends Partial<Pick<ClientOptions, 'maxCalls' | 'qps' | 'timeoutMs'>> {
  readonly stations?: readonly string[]
  readonly powerFilter?: PowerFilter
}

export interface Run extends Result {
  readonly exchanges: readonly Exchange[]
  /** Waits between calls, in ms; none of them is waited for. */
  readonly waits: readonly number[]
}

/** Runs the verification in this process, without waiting between calls. */
export async function runAgainst({ url }: Pick<Simulator, 'url'>, options: RunOptions = {}): Promise<Run> {
  const { stations = STATIONS, powerFilter = 'recount', maxCalls = 60, qps = 2, timeoutMs = 5_000 } = options
  const exchanges: Exchange[] = []
  const waits: number[] = []
  let now = 0
  const dispatcher = new Agent({ connections: 1, maxResponseSize: MAX_BODY_BYTES })
  const client = new UpstreamClient(
    { baseUrl: url, key: KEY, timeoutMs, maxCalls, qps },
    {
      dispatcher,
      now: () => now,
      sleep: async (ms) => {
        waits.push(ms)
        now += ms
      },
      record: (exchange) => void exchanges.push(exchange),
    },
  )
  const result = await verify(client, { stations, maxCalls, powerFilter })
  await dispatcher.destroy()
  return { ...result, exchanges, waits }
}

/** A simulator that requires the key. */
export function simulatorWith(t: Test, deviations: readonly Deviation[], options: SimulatorOptions = {}) {
  return started(t, { key: KEY, deviations, ...options })
}

export function verdictsOf({ findings }: Pick<Result, 'findings'>): Record<AssumptionId, Verdict> {
  const entries = ALL.map((id) => [id, findings[id]?.verdict ?? 'not tried'])
  return Object.fromEntries(entries) as Record<AssumptionId, Verdict>
}

/** The verdicts other than `confirmed`. */
export function exceptions(result: Pick<Result, 'findings'>): Partial<Record<AssumptionId, Verdict>> {
  return Object.fromEntries(
    Object.entries(verdictsOf(result)).filter(([, verdict]) => verdict !== 'confirmed'),
  )
}
