import type { Policy, Source } from '../../source.ts'

/** A policy that can be replaced at run time. A call ends under the policy with which it began. */
export class SwitchablePolicy {
  #current: Policy
  /** Set when the policies are composed. */
  #next: Source | null = null
  #source: Source | null = null

  constructor(policy: Policy) {
    this.#current = policy
  }

  readonly policy: Policy = (next) => {
    this.#next = next
    this.#source = this.#current(next)
    return (id, options) => (this.#source as Source)(id, options)
  }

  replace(policy: Policy): void {
    this.#current = policy
    if (this.#next !== null) this.#source = policy(this.#next)
  }
}

/** No limit. */
export const passThrough: Policy = (next) => next
