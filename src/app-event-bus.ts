import type { Observer } from './events.ts'
import { EVENT_NAMES } from './events.ts'

/** Passes the events of its observer on to everybody who has subscribed. */
export interface EventBus {
  readonly observer: Observer
  /** From now on the listener gets each event that it has a method for, after those that subscribed before it. */
  readonly subscribe: (listener: Partial<Observer>) => void
}

/** The methods of an event are found once, when they subscribe: a hit emits two events. */
export function createEventBus(): EventBus {
  type Method = (...details: unknown[]) => void
  const methods = new Map(EVENT_NAMES.map((name) => [name, [] as Method[]]))
  const emitter =
    (called: readonly Method[]): Method =>
    (...details) => {
      for (const method of called) method(...details)
    }
  return {
    observer: Object.fromEntries(
      [...methods].map(([name, called]) => [name, emitter(called)]),
    ) as unknown as Observer,
    subscribe: (listener) => {
      for (const [name, called] of methods) {
        const method = (listener as Record<string, Method | undefined>)[name]
        if (method !== undefined) called.push(method.bind(listener))
      }
    },
  }
}
