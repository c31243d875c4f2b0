import type {
  Lease,
  LeaseResult,
  SharedAnswer,
  SharedAnswerStore,
  StationUse,
  WantedLease,
} from '../../src/cache/shared-store.ts'
import type { Clock } from '../../src/lib/clock.ts'
import type { ErrorCode } from '../../src/errors.ts'

interface Kept {
  readonly answer: SharedAnswer
  readonly receivedAt: number
  readonly startedAt: number
  readonly until: number
}

/** What a shared tier promises, in a few lines of memory: every replica in the process may have it. */
export class SharedDouble implements SharedAnswerStore {
  isUp = true
  readonly #clock: Pick<Clock, 'now'>
  readonly #answers = new Map<string, Kept | 'corrupt'>()
  readonly #uses = new Map<string, StationUse>()
  readonly #purged = new Set<string>()
  readonly #purgeListeners: ((id: string | null) => void)[] = []
  readonly #leases = new Map<string, { readonly holder: string; readonly until: number }>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  async leaseGet(id: string, known: string, { token, ms }: WantedLease): Promise<LeaseResult> {
    if (!this.isUp) return { kind: 'unavailable' }
    const now = this.#clock.now()
    const kept = this.#answers.get(id)
    if (kept !== undefined && kept !== 'corrupt' && kept.until > now && kept.answer.version !== known) {
      const [ageMs, startedAgoMs] = [Math.max(0, now - kept.receivedAt), Math.max(0, now - kept.startedAt)]
      return { kind: 'answer', answer: { ...kept.answer, ageMs, startedAgoMs, ...this.#station(id, kept) } }
    }
    const lease = this.#leases.get(id)
    if (lease === undefined || lease.until <= now) {
      if (token === null) return { kind: 'none' }
      this.#leases.set(id, { holder: token, until: now + ms })
      return { kind: 'lease', overCorruptValue: kept === 'corrupt' }
    }
    if (!lease.holder.startsWith('!')) return { kind: 'leased-by-peer' }
    return { kind: 'error', code: lease.holder.slice(1) as ErrorCode, ms: lease.until - now }
  }

  renew(id: string, { token, ms }: Lease): void {
    if (this.#holds(id, token)) this.#leases.set(id, { holder: token, until: this.#clock.now() + ms })
  }

  publish(id: string, answer: SharedAnswer, lifeMs: number): void {
    if (!this.isUp) return
    const now = this.#clock.now()
    if (this.#holds(id, answer.version)) this.#leases.delete(id)
    else if (this.#purged.has(id)) return
    const [receivedAt, startedAt] = [now - answer.ageMs, now - answer.startedAgoMs]
    const present = this.#answers.get(id)
    if (present !== undefined && present !== 'corrupt' && present.startedAt > startedAt) return
    this.#answers.set(id, { answer, receivedAt, startedAt, until: now + lifeMs })
    const { version, station = null } = answer
    void this.noteUses([{ id, version, station }])
  }

  async noteUses(uses: readonly StationUse[]): Promise<void> {
    for (const use of uses) if (use.station !== null) this.#uses.set(use.id, use)
  }

  release(id: string, token: string, { code, ms }: { code: ErrorCode; ms: number }): void {
    if (!this.#holds(id, token)) return
    this.#leases.delete(id)
    if (ms > 0) this.#leases.set(id, { holder: `!${code}`, until: this.#clock.now() + ms })
  }

  async purge(id: string): Promise<boolean> {
    if (!this.isUp) return false
    this.#answers.delete(id)
    this.#leases.delete(id)
    this.#purged.add(id)
    for (const listener of this.#purgeListeners) listener(id)
    return true
  }

  async purgeAll(): Promise<boolean> {
    if (!this.isUp) return false
    for (const id of [...this.#answers.keys(), ...this.#leases.keys()]) await this.purge(id)
    for (const listener of this.#purgeListeners) listener(null)
    return true
  }

  /** All replicas of a test have this store, so the purging one is told as well, before its purge ends. */
  onPurged(listener: (id: string | null) => void): void {
    this.#purgeListeners.push(listener)
  }

  /** Puts an answer there, as a replica would have, or what is none. */
  plant(id: string, answer: SharedAnswer | 'corrupt'): void {
    const now = this.#clock.now()
    if (answer === 'corrupt') this.#answers.set(id, answer)
    else {
      const [receivedAt, startedAt] = [now - answer.ageMs, now - answer.startedAgoMs]
      this.#answers.set(id, { answer, receivedAt, startedAt, until: Number.POSITIVE_INFINITY })
    }
  }

  /** Takes the lease in the name of a replica that never comes back. */
  takeLease(id: string, ms: number): void {
    this.#leases.set(id, { holder: 'gone', until: this.#clock.now() + ms })
  }

  get stations(): string[] {
    return [...this.#answers.keys()]
  }

  lifeMs(id: string): number {
    const kept = this.#answers.get(id)
    return kept === undefined || kept === 'corrupt' ? 0 : kept.until - this.#clock.now()
  }

  #station(id: string, { answer }: Kept): Pick<SharedAnswer, 'station'> {
    const use = this.#uses.get(id)
    if (use === undefined || use.station === null) return {}
    const { station, version } = use
    return { station: version === answer.version ? station : { ...station, served: 0, servedAgesS: 0 } }
  }

  #holds(id: string, token: string): boolean {
    return this.#leases.get(id)?.holder === token
  }
}
