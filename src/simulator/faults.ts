import type { Fault, Outcome } from './fault-document.ts'
import { parseFaults } from './fault-document.ts'
import type { Random } from './random.ts'

/** What the faults in force do to one call. */
export interface Strike {
  readonly latencyMs: number
  /** null for an honest answer. */
  readonly outcome: Outcome | null
}

/** The faults in force, and how often each may still strike. */
export class Faults {
  #faults: readonly Fault[] = []
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  /** Those in force; `times` is what is left of it. */
  get inForce(): readonly Fault[] {
    return this.#faults
  }

  /**
   * Replaces all of them; `[]` clears.
   * @throws FaultDocumentError, and then the old ones stay
   */
  set(document: unknown): void {
    this.#faults = parseFaults(document)
  }

  /** Asks each fault in its order: delays add up, the first outcome counts, and the outcomes behind it rest. */
  strike(): Strike {
    let latencyMs = 0
    let outcome: Outcome | null = null
    this.#faults = this.#faults.flatMap((fault) => {
      if ((fault.outcome !== undefined && outcome !== null) || !this.#hits(fault)) return [fault]
      latencyMs += fault.latencyMs ?? 0
      if (fault.outcome !== undefined) outcome = fault
      return usedOnce(fault)
    })
    return { latencyMs, outcome }
  }

  #hits({ probability }: Fault): boolean {
    return probability === undefined || this.#random() < probability
  }
}

function usedOnce(fault: Fault): Fault[] {
  if (fault.times === undefined) return [fault]
  return fault.times === 1 ? [] : [{ ...fault, times: fault.times - 1 }]
}
