/** The client whose lookup started a call, and the calls that it may start in a period. */
export interface QuotaClient {
  readonly id: string
  readonly limit: number
  /** Up to this part of the calls spent, its calls are not rationed. */
  readonly part?: number
}

/** Clients that are counted one by one; all others share one count. */
export const MAX_COUNTED_CLIENTS = 10_000
const OTHERS = ''

/**
 * Whether a client has started so few of the calls spent that its next one is not rationed. `part` is its part of them;
 * without one it is rationed like all.
 */
export function catchesUp(part: number | undefined, calls: number, spent: number): boolean {
  return part !== undefined && calls + 1 <= part * spent
}

/** Calls of the period by the client whose lookups started them. */
export class ClientCalls {
  readonly #calls = new Map<string, number>()

  of(client: string): number {
    return this.#calls.get(this.#keyOf(client)) ?? 0
  }

  set(client: string, calls: number): void {
    this.#calls.set(this.#keyOf(client), calls)
  }

  add(client: string, calls: number): void {
    this.set(client, Math.max(0, this.of(client) + calls))
  }

  clear(): void {
    this.#calls.clear()
  }

  #keyOf(client: string): string {
    return this.#calls.has(client) || this.#calls.size < MAX_COUNTED_CLIENTS ? client : OTHERS
  }
}
