/**
 * Live is: the process answers. Ready is: the configuration is valid, both listeners are open, and the service
 * is not draining. Upstream's health is no part of it: a cache with old answers is of use, and a readiness that
 * flaps with upstream has healthy pods restarted.
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
