/**
 * Live: the process answers. Ready: the configuration is valid, both listeners are open, and the service does not drain.
 * Upstream is no condition: the cache serves stale answers during an outage, and a readiness probe that follows
 * upstream would take every replica out of service at once.
 */
export class Health {
  #phase: 'starting' | 'ready' | 'draining' = 'starting'

  get phase(): string {
    return this.#phase
  }

  get ready(): boolean {
    return this.#phase === 'ready'
  }

  markReady(): void {
    if (this.#phase === 'starting') this.#phase = 'ready'
  }

  markDraining(): void {
    this.#phase = 'draining'
  }
}
