import type { ServerResponse } from 'node:http'
import type { Filter } from '../../availability/query.ts'
import { ServiceError } from '../../errors.ts'
import type { Observer, StreamEnd, StreamEvent } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Turns } from '../../lib/turns.ts'
import { MAX_TURN_MS } from '../../lib/turns.ts'
import type { CurrentAnswer, Watcher } from '../../watch/watcher.ts'
import type { Watchers } from '../../watch/watchers.ts'
import { renderError } from '../error-body.ts'

export interface EventStreamOptions {
  readonly trackingId: string
  readonly ids: readonly string[]
  readonly filter: Filter
  /** The tags of the answers that the client has. */
  readonly known: ReadonlySet<string>
  /** From 0 up to, not including, 1. */
  readonly random: number
}

export interface EventStreamDeps {
  readonly watchers: Pick<Watchers, 'watch' | 'current'>
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Pick<Observer, 'streamClosed' | 'eventSent'>
  /** Of all streams: a hundred filters of a large answer take seconds to render. */
  readonly turns: Pick<Turns, 'next'>
}

/** When a client reconnects after the end of a stream, in ms. */
const RETRY_MS = 5_000
const COMMENT_EVERY_MS = 15_000
const LIFETIME_MS = 600_000
/** A part of the lifetime by which it varies up and down, so that streams do not end together. */
const LIFETIME_SPREAD = 0.1
/** A client that has not read for so long is disconnected. */
const MAX_UNREAD_MS = 30_000
/** Events are written in pieces of about this many characters, so that a slow reader buffers little more. */
const PIECE_LENGTH = 16_384

/** Characters of an entity tag that identify an answer: 48 bits. */
const TAG_LENGTH = 8
const VERSION = '1'
const EVENT_ID = new RegExp(`^${VERSION}((?:[A-Za-z0-9_-]{${TAG_LENGTH}}){0,100})$`)

/** The tags of an event id; empty if it is not one of this service. */
export function knownTags(eventId: string | undefined): ReadonlySet<string> {
  const tags = EVENT_ID.exec(eventId ?? '')?.[1] ?? ''
  return new Set(tags.match(new RegExp(`.{${TAG_LENGTH}}`, 'g')))
}

/** A station of a stream: what was sent of it last, and what is to be sent. */
class StreamStation implements Watcher {
  readonly id: string
  /** The tag of the answer that was sent last; null before the first one and after a problem. */
  tag: string | null = null
  hasProblem = false
  /** The newest state; null once it was sent. */
  next: CurrentAnswer | ServiceError | null = null
  readonly #onChange: (station: StreamStation) => void

  constructor(id: string, onChange: (station: StreamStation) => void) {
    this.id = id
    this.#onChange = onChange
  }

  answered(current: CurrentAnswer): void {
    this.next = current
    this.#onChange(this)
  }

  failed(error: ServiceError): void {
    this.next = error
    this.#onChange(this)
  }
}

/**
 * Server-sent events of the answers of some stations. The id of an event consists of the tags of all answers that were
 * sent, so any replica finds what a client that reconnects has. A slow reader costs the newest state of each station.
 */
export class EventStream {
  readonly #response: ServerResponse
  readonly #options: EventStreamOptions
  readonly #deps: EventStreamDeps
  readonly #startedAt: number
  readonly #stations: readonly StreamStation[]
  readonly #changed = new Set<StreamStation>()
  #cleanUp: (() => void)[] = []
  #cancelComment: () => void = () => {}
  #cancelUnread: (() => void) | null = null
  #isFlushing = false
  #hasEnded = false
  #events = 0

  /** @param response its head has been written */
  constructor(response: ServerResponse, options: EventStreamOptions, deps: EventStreamDeps) {
    this.#response = response
    this.#options = options
    this.#deps = deps
    this.#startedAt = deps.clock.now()
    this.#stations = options.ids.map((id) => new StreamStation(id, this.#onChange))
  }

  get stations(): number {
    return this.#stations.length
  }

  start(onEnd: () => void): void {
    const { watchers, clock } = this.#deps
    const lifetimeMs = LIFETIME_MS * (1 + LIFETIME_SPREAD * (2 * this.#options.random - 1))
    this.#cleanUp = [onEnd, clock.after(lifetimeMs, () => this.end('lifetime'))]
    this.#response.on('close', () => this.end('client'))
    this.#response.on('error', () => this.end('client'))
    this.#response.on('drain', this.#onDrain)
    this.#response.write(`retry: ${RETRY_MS}\n\n`)
    this.#scheduleComment()
    for (const station of this.#stations) {
      this.#cleanUp.push(watchers.watch(station.id, station))
      const current = watchers.current(station.id)
      if (current !== null) station.answered(current)
    }
  }

  readonly end = (reason: StreamEnd): void => {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#cancelComment()
    this.#cancelUnread?.()
    for (const action of this.#cleanUp) action()
    if (reason === 'slow') this.#response.destroy()
    else this.#response.end()
    const { clock, observer } = this.#deps
    const seconds = (clock.now() - this.#startedAt) / 1000
    observer.streamClosed(this.#options.trackingId, reason, seconds, this.#events)
  }

  /** Events of one turn of the event loop are written together. */
  readonly #onChange = (station: StreamStation): void => {
    this.#changed.add(station)
    if (!this.#isFlushing && this.#cancelUnread === null) void this.#flush()
  }

  async #flush(): Promise<void> {
    this.#isFlushing = true
    while (this.#changed.size > 0 && this.#cancelUnread === null) {
      await this.#deps.turns.next()
      if (this.#hasEnded) break
      const piece = this.#nextPiece()
      if (piece !== '') this.#write(piece)
    }
    this.#isFlushing = false
  }

  #nextPiece(): string {
    let piece = ''
    const begunAt = performance.now()
    for (const station of this.#changed) {
      this.#changed.delete(station)
      piece += this.#eventOf(station)
      if (piece.length >= PIECE_LENGTH || performance.now() - begunAt >= MAX_TURN_MS) break
    }
    return piece
  }

  #write(text: string): void {
    if (this.#response.write(text)) return
    // The client has to read first.
    this.#cancelUnread ??= this.#deps.clock.after(MAX_UNREAD_MS, () => this.end('slow'))
  }

  readonly #onDrain = (): void => {
    this.#cancelUnread?.()
    this.#cancelUnread = null
    if (!this.#isFlushing) void this.#flush()
  }

  /** Empty if the client has this state. */
  #eventOf(station: StreamStation): string {
    const { next } = station
    station.next = null
    if (next === null) return ''
    if (next instanceof ServiceError) return this.#problem(station, next)
    try {
      return this.#availability(station, next)
    } catch (error) {
      if (error instanceof ServiceError) return this.#problem(station, error) // larger than allowed
      throw error
    }
  }

  #availability(station: StreamStation, { answer }: CurrentAnswer): string {
    const { body, etag } = answer.render(this.#options.filter, 'json', false)
    const tag = etag.slice(1, 1 + TAG_LENGTH)
    const isKnown = station.tag === tag || (station.tag === null && this.#options.known.has(tag))
    station.tag = tag
    if (isKnown && !station.hasProblem) return ''
    station.hasProblem = false
    return this.#event('availability', body)
  }

  #problem(station: StreamStation, error: ServiceError): string {
    if (station.hasProblem) return ''
    station.hasProblem = true
    station.tag = null
    const head = `{"chargingAvailability":${JSON.stringify(station.id)},"statusCode":${error.status}`
    return this.#event('problem', `${head},"error":${renderError(error, 'json')}}`)
  }

  #event(name: StreamEvent, data: string): string {
    this.#events++
    this.#deps.observer.eventSent(name)
    let id = VERSION
    for (const { tag } of this.#stations) id += tag ?? ''
    return `event: ${name}\nid: ${id}\ndata: ${data}\n\n`
  }

  #scheduleComment(): void {
    this.#cancelComment = this.#deps.clock.after(COMMENT_EVERY_MS, () => {
      this.#scheduleComment()
      if (this.#cancelUnread === null) this.#write(': \n\n')
    })
  }
}
