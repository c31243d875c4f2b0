import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { settled } from './clock.ts'
import { until } from './until.ts'

const REQUEST_START = 'http.server.request.start'

/** Counts the requests that a listener of this process has received, by Node's diagnostics channel. */
export interface Arrivals {
  /** Resolves once that number of requests has arrived and been dispatched. */
  readonly reached: (requests: number) => Promise<void>
  readonly stop: () => void
}

export function arrivalsAt(port: number): Arrivals {
  let seen = 0
  const onRequest = (message: unknown) => {
    const { server } = message as { server: Server }
    if ((server.address() as AddressInfo | null)?.port === port) seen++
  }
  subscribe(REQUEST_START, onRequest)
  return {
    async reached(requests) {
      await until(`${requests} requests arrived`, () => seen >= requests)
      await settled()
      await settled()
    },
    stop: () => {
      unsubscribe(REQUEST_START, onRequest)
    },
  }
}
