import type { StationState } from '../cache/entry-store.ts'
import type {
  Lease,
  LeaseResult,
  SharedAnswer,
  SharedAnswerStore,
  StationUse,
  WantedLease,
} from '../cache/shared-store.ts'
import type { ErrorCode } from '../errors.ts'
import { CACHE_RULES } from '../errors.ts'
import type { Clock } from '../lib/clock.ts'
import type { Commands } from './commands.ts'
import {
  answerKey,
  leaseKey,
  PUBLISHED_CHANNEL,
  purgedKey,
  STATION_PATTERNS,
  stationKey,
  stationOf,
} from './keys.ts'
import { PURGE_TIMEOUT_MS, PurgeFeed } from './purge-feed.ts'
import { PURGE } from './purge-script.ts'
import { LEASE_GET, PUBLISH, RELEASE, RENEW } from './scripts.ts'
import { decodeStation, encodeStation } from './station-record.ts'

const HEADER = /^(\d{1,15}) (\d{1,15}) (\d{1,4}) (\S{1,64}) (?:(\d{1,10}) )?/
/** Replaces a lease after a call that failed. No version begins so. */
const ERROR = /^!(\w+)$/
/** The longest life of such an error: CACHE_EMPTY_TTL. */
const MAX_ERROR_MS = 86_400_000
const THOUSANDTHS = 1_000
/** Longer than any call takes. */
const PURGE_MARK_MS = 600_000
/** What pacing knows of a station is worth keeping longer than its answer. */
const STATION_MS = 7 * 86_400_000
/** Commands at once: each has a deadline, also the last one that the server gets to. */
const AT_ONCE = 50

/** The shared cache: answers, and leases, each the right to call for one station. */
export class RedisAnswerStore implements SharedAnswerStore {
  readonly #commands: Commands
  readonly #feed: PurgeFeed

  constructor(commands: Commands, clock: Pick<Clock, 'now'>) {
    this.#commands = commands
    this.#feed = new PurgeFeed(commands, clock)
  }

  get isUp(): boolean {
    return this.#commands.isUp
  }

  async leaseGet(id: string, known: string, { token, ms }: WantedLease): Promise<LeaseResult> {
    const keys = [answerKey(id), leaseKey(id), stationKey(id)]
    return parseReply(await this.#commands.script(LEASE_GET, keys, [known, token ?? '', ms]))
  }

  renew(id: string, { token, ms }: Lease): void {
    void this.#commands.script(RENEW, [leaseKey(id)], [token, ms])
  }

  publish(id: string, answer: SharedAnswer, lifeMs: number): void {
    const { version, ageMs, startedAgoMs, jitter, changedAt, json, station } = answer
    const header = [Math.round(ageMs), Math.round(startedAgoMs), Math.round(jitter * THOUSANDTHS)]
    const body = changedAt === 0 ? json : `${changedAt} ${json}` // JSON begins with a brace
    const keys = [answerKey(id), leaseKey(id), purgedKey(id)]
    if (!(lifeMs >= 1)) {
      this.release(id, version, { code: 'InternalError', ms: 0 })
      return
    }
    void this.#commands.script(PUBLISH, keys, [version, ...header, body, Math.ceil(lifeMs), id])
    if (station !== undefined) void this.#noteStation(id, version, station)
  }

  async noteUses(uses: readonly StationUse[]): Promise<void> {
    for (let i = 0; i < uses.length && this.isUp; i += AT_ONCE) {
      const portion = uses.slice(i, i + AT_ONCE)
      await Promise.all(
        portion.flatMap(({ id, version, station }) =>
          station === null ? [] : [this.#noteStation(id, version, station)],
        ),
      )
    }
  }

  #noteStation(id: string, version: string, station: StationState): Promise<unknown> {
    return this.#commands.command('set', stationKey(id), encodeStation(version, station), 'PX', STATION_MS)
  }

  onPublished(listener: (id: string, version: string) => void): void {
    this.#commands.subscribe(PUBLISHED_CHANNEL, (message) => {
      const [version = ''] = message.split(' ', 1)
      listener(message.slice(version.length + 1), version)
    })
  }

  release(id: string, token: string, error: { readonly code: ErrorCode; readonly ms: number }): void {
    void this.#commands.script(RELEASE, [leaseKey(id)], [token, `!${error.code}`, Math.ceil(error.ms)])
  }

  async purge(id: string): Promise<boolean> {
    return (await this.#purge(id)) && this.#feed.announce(id)
  }

  /** A call in flight has a lease, so that its station is found even if it has no answer yet. */
  async purgeAll(): Promise<boolean> {
    let isDone = true
    for (const pattern of STATION_PATTERNS) {
      for await (const keys of this.#commands.scan(pattern, PURGE_TIMEOUT_MS)) {
        isDone &&= keys !== null && (await this.#purgeEach(keys.map(stationOf)))
      }
    }
    return isDone && this.#feed.announce(null)
  }

  async #purgeEach(ids: readonly string[]): Promise<boolean> {
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      const purged = await Promise.all(ids.slice(i, i + AT_ONCE).map((id) => this.#purge(id)))
      if (purged.includes(false)) return false
    }
    return true
  }

  onPurged(listener: (id: string | null) => void): void {
    this.#feed.listen(listener)
  }

  async #purge(id: string): Promise<boolean> {
    const keys = [answerKey(id), leaseKey(id), purgedKey(id)]
    const reply = await this.#commands.script(PURGE, keys, [PURGE_MARK_MS], PURGE_TIMEOUT_MS)
    return reply !== undefined
  }
}

function parseReply(reply: unknown): LeaseResult {
  const [kind, value, number, station] = Array.isArray(reply) ? (reply as unknown[]) : []
  if (kind === 'lease') return { kind, overCorruptValue: value === 1 }
  if (kind === 'none') return { kind }
  if (kind === 'taken') return parseHolder(String(value), Number(number))
  const answer = kind === 'answer' ? parseAnswer(String(value), Number(number)) : null
  if (answer === null) return { kind: 'unavailable' }
  const known = decodeStation(station, answer.version)
  return { kind: 'answer', answer: known === null ? answer : { ...answer, station: known } }
}

function parseHolder(holder: string, ms: number): LeaseResult {
  const code = ERROR.exec(holder)?.[1]
  if (code === undefined) return { kind: 'leased-by-peer' }
  // An error of another kind is not of a replica's making.
  const isKept = Object.hasOwn(CACHE_RULES, code) && CACHE_RULES[code as ErrorCode].station !== 'none'
  return isKept && ms > 0 && ms <= MAX_ERROR_MS
    ? { kind: 'error', code: code as ErrorCode, ms }
    : { kind: 'unavailable' }
}

/** Null for a value that this service did not write. A time in the future, after a change of servers, is now. */
function parseAnswer(value: string, now: number): SharedAnswer | null {
  const [header, received, started, jitter, version = '', changedAt = '0'] = HEADER.exec(value) ?? []
  if (header === undefined) return null
  return {
    version,
    json: value.slice(header.length),
    ageMs: Math.max(0, now - Number(received)),
    startedAgoMs: Math.max(0, now - Number(started)),
    jitter: Math.min(1, Number(jitter) / THOUSANDTHS),
    changedAt: Number(changedAt),
  }
}
