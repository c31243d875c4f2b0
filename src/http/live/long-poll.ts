import type { FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { hasLeft } from '../../lib/connection.ts'
import { closeOnEndOfInput } from '../../lib/held-responses.ts'
import { Turns } from '../../lib/turns.ts'
import type { CurrentAnswer } from '../../watch/watcher.ts'
import type { Admit, ClientNames } from '../admission.ts'
import { ClientDisconnectedError } from '../client-disconnect.ts'
import type { RawQuery } from '../request-context.ts'
import type { Live } from './events-route.ts'
import { admissionCheck, createClientKey } from './stream-client.ts'

/** Longer waits are cut to this. */
const MAX_WAIT_S = 60
/** One member of the list: a comma in a quoted string does not end it (RFC 9110, section 5.6.4). */
const PREFERENCE = /(?:[^,"]+|"(?:[^"\\]|\\[^])*"?)+/g
const WAIT = /^[ \t]*wait[ \t]*=[ \t]*"?(\d+)"?[ \t]*(?:;|$)/i

/** The seconds of `Prefer: wait=N` (RFC 7240); null without a whole number above 0. */
export function preferredWaitS(prefer: string | string[] | undefined): number | null {
  if (prefer === undefined) return null
  for (const [preference] of String(prefer).matchAll(PREFERENCE)) {
    const seconds = WAIT.exec(preference)?.[1]
    if (seconds !== undefined) return Number(seconds) > 0 ? Math.min(Number(seconds), MAX_WAIT_S) : null
  }
  return null
}

export interface LongPollDeps extends Live {
  readonly admit: Admit | null
  readonly clients: ClientNames | null
  readonly clock: Pick<Clock, 'after'>
}

export interface Held {
  readonly request: FastifyRequest<RawQuery>
  readonly reply: FastifyReply
  readonly station: string
  readonly seconds: number
  /** Whether the client has this answer. */
  readonly isKnown: (current: CurrentAnswer) => boolean
}

/**
 * Holds a request until the client does not have the station's answer, or the time is over; the newest answer then, null if
 * there is none. `undefined` without a wait: there are too many streams, or streams are switched off.
 */
export type Hold = (held: Held) => Promise<CurrentAnswer | null | undefined>

export function createHold(deps: LongPollDeps): Hold {
  const { streams, clients, clock, admit } = deps
  const clientOf = createClientKey(admit)
  const turns = new Turns()
  return async ({ request, reply, ...held }) => {
    const client = await clientOf(request)
    if (hasLeft(reply.raw)) throw new ClientDisconnectedError()
    const watchers = deps.watchers()
    if (watchers === null || !streams.isEnabled || streams.isDraining) return undefined
    try {
      streams.checkRoomFor(client)
    } catch (error) {
      if (error instanceof ServiceError) return undefined
      throw error
    }
    const isAdmitted = admissionCheck(request, clients)
    const heldFrom = performance.now()
    await new Promise<void>((resolve, reject) => {
      const cleanUp: (() => void)[] = []
      const end = () => {
        for (const action of cleanUp.splice(0)) action()
        resolve()
      }
      const onClose = () => {
        reject(new ClientDisconnectedError())
        end()
      }
      reply.raw.once('close', onClose)
      closeOnEndOfInput(reply.raw)
      cleanUp.push(() => reply.raw.off('close', onClose))
      cleanUp.push(streams.add({ kind: 'long_poll', client, isAdmitted, end }))
      cleanUp.push(clock.after(held.seconds * 1_000, end))
      const newest = () => watchers.current(held.station)
      const watcher = watcherFor(held, { newest, turns, end })
      cleanUp.push(watchers.watch(held.station, watcher), () => watcher.leave())
      if (newest() !== null) watcher.answered()
    })
    request.startedAt += performance.now() - heldFrom // the wait is no duration of the proxy
    return watchers.current(held.station)
  }
}

interface WatcherDeps {
  readonly newest: () => CurrentAnswer | null
  /** Of all requests that are held: each may ask for another filter of a large answer. */
  readonly turns: Turns
  readonly end: () => void
}

/** Calls `end` when the client does not have the newest answer, and neither waits nor throws in the watched cache. */
function watcherFor({ isKnown }: Pick<Held, 'isKnown'>, { newest, turns, end }: WatcherDeps) {
  let isComparing = false
  let isOver = false
  const compare = async () => {
    isComparing = true
    await turns.next()
    isComparing = false
    if (isOver) return
    const current = newest()
    if (current !== null && !hasAnswer(current)) end()
  }
  const hasAnswer = (current: CurrentAnswer) => {
    try {
      return isKnown(current)
    } catch {
      return false // the response gets the error
    }
  }
  return {
    answered: () => {
      if (!isComparing) void compare()
    },
    failed: () => {}, // the client's copy is still the newest
    leave: () => void (isOver = true),
  }
}
