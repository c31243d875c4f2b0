import type { FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { closeOnEndOfInput } from '../../lib/connections.ts'
import type { CurrentAnswer } from '../../watch/watcher.ts'
import type { Watchers } from '../../watch/watchers.ts'
import type { Admit, ClientNames } from '../admission.ts'
import { ClientDisconnectedError } from '../client-disconnect.ts'
import type { RawQuery } from '../request-context.ts'
import type { Live } from './events-route.ts'
import { admissionCheck, createClientKey } from './stream-client.ts'

/** Longer waits are cut to this. */
const MAX_WAIT_S = 60
const WAIT = /^[ \t]*wait[ \t]*=[ \t]*"?(\d+)"?[ \t]*(?:;|$)/i

/** The seconds of `Prefer: wait=N` (RFC 7240); null without a whole number above 0. */
export function preferredWaitS(prefer: string | string[] | undefined): number | null {
  if (prefer === undefined) return null
  for (const preference of String(prefer).split(',')) {
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
  return async ({ request, reply, ...held }) => {
    const client = await clientOf(request)
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
      const watcher = watcherFor(held, end)
      cleanUp.push(watchers.watch(held.station, watcher))
      const current = watchers.current(held.station)
      if (current !== null) watcher.answered(current)
    })
    request.startedAt += performance.now() - heldFrom // the wait is no duration of the proxy
    return watchers.current(held.station)
  }
}

function watcherFor({ isKnown }: Pick<Held, 'isKnown'>, end: () => void): Parameters<Watchers['watch']>[1] {
  return {
    answered: (current) => {
      if (!isKnown(current)) end()
    },
    failed: () => {}, // the client's copy is still the newest
  }
}
