import type { Deviation } from './deviations.ts'
import type { Fault, Outcome } from './fault-document.ts'
import { parseFaults } from './fault-document.ts'
import type { Random } from './random.ts'

/** What the active faults do to one call. */
export interface FaultDecision {
  readonly latencyMs: number
  /** null for the normal response. */
  readonly outcome: Outcome | null
  /** How the normal response differs from the endpoint's. */
  readonly deviations: readonly Deviation[]
}

/** The active faults, each with the number of calls that it still applies to. */
export class Faults {
  #faults: readonly Fault[] = []
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  /** The active faults; `times` is the number of calls left. */
  get active(): readonly Fault[] {
    return this.#faults
  }

  /**
   * Replaces all of them; `[]` clears.
   * @throws FaultDocumentError; the present faults then stay active
   */
  set(document: unknown): void {
    this.#faults = parseFaults(document)
  }

  /** Applies the faults in order: delays add up, the first outcome counts, later outcomes are not used up. */
  decide(): FaultDecision {
    let latencyMs = 0
    let outcome: Outcome | null = null
    const deviations: Deviation[] = []
    this.#faults = this.#faults.flatMap((fault) => {
      if ((fault.outcome !== undefined && outcome !== null) || !this.#applies(fault)) return [fault]
      latencyMs += fault.latencyMs ?? 0
      if (fault.deviation !== undefined) deviations.push(fault.deviation)
      if (fault.outcome !== undefined) outcome = fault
      return withOneLess(fault)
    })
    return { latencyMs, outcome, deviations }
  }

  #applies({ probability }: Fault): boolean {
    return probability === undefined || this.#random() < probability
  }
}

function withOneLess(fault: Fault): Fault[] {
  if (fault.times === undefined) return [fault]
  return fault.times === 1 ? [] : [{ ...fault, times: fault.times - 1 }]
}
