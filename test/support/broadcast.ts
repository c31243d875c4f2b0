import { createEventBus } from '../../src/app-event-bus.ts'
import type { Observer } from '../../src/events.ts'

/** The observer of an event bus with these listeners, in order. */
export function broadcast(listeners: readonly Partial<Observer>[]): Observer {
  const { observer, subscribe } = createEventBus()
  listeners.forEach(subscribe)
  return observer
}
