import type { Cluster, Redis } from 'ioredis'
import type { Clock } from '../lib/clock.ts'
import { pause } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import type { RedisConfig } from '../config/redis-url.ts'
import type { StoreOutage } from '../upstream/state/shared-token-bucket.ts'
import { RedisBreaker } from './breaker.ts'
import type { Client } from './client.ts'
import { createClient } from './client.ts'
import { TIMED_OUT } from './errors.ts'
import { PREFIX, PROBE_KEY } from './keys.ts'
import { ANNOUNCE_PURGE, PURGE, READ_PURGES } from './purge-script.ts'
import { CHARGE_UNKNOWN_IDS } from './unknown-id-script.ts'
import type { Script } from './scripts.ts'
import { QUOTA_UPDATE } from './quota-script.ts'
import { NOTE_ARRIVAL, PASS_SEND_GATE } from './send-gate-script.ts'
import { LEASE_GET, PUBLISH, RELEASE, RENEW, TAKE_TOKEN } from './scripts.ts'

export type Argument = string | number

const SCRIPTS: readonly Script[] = [
  LEASE_GET,
  PUBLISH,
  RENEW,
  RELEASE,
  PURGE,
  ANNOUNCE_PURGE,
  READ_PURGES,
  TAKE_TOKEN,
  PASS_SEND_GATE,
  NOTE_ARRIVAL,
  QUOTA_UPDATE,
  CHARGE_UNKNOWN_IDS,
]

/** The start of the service waits no longer than this for the first attempt to connect. */
const MAX_CONNECT_WAIT_MS = 1_500
const PROBE_VALUE_MS = 1_000
/** Keys that one SCAN command looks at. */
const SCAN_COUNT = 500

export interface CommandsDeps {
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged' | 'sharedCommandRejected'>
  readonly commandTimeoutMs?: number
}

type Method = (...args: readonly Argument[]) => Promise<unknown>

/** Commands to Redis, behind one circuit breaker. */
export class Commands {
  readonly #client: Client
  readonly #breaker: RedisBreaker
  /** The connection for messages, which can send no commands; null while nobody listens. */
  #subscriber: Client | null = null
  /** By channel, prefix included. */
  readonly #listeners = new Map<string, (message: string) => void>()
  #onListening: (isListening: boolean) => void = () => {}

  private constructor(client: Client, { clock, observer, commandTimeoutMs }: CommandsDeps) {
    this.#client = client
    this.#breaker = new RedisBreaker({
      probe: () => client.set(PROBE_KEY, 1, 'PX', PROBE_VALUE_MS),
      reconnect: () => {
        if (client.status === 'ready') client.disconnect(true)
      },
      clock,
      commandTimeoutMs,
      observer: {
        sharedCommandRejected: observer.sharedCommandRejected,
        sharedCacheChanged: (up, reason) => {
          observer.sharedCacheChanged(up, reason)
          if (up) this.#onListening(true)
        },
      },
    })
    for (const { name, keys, lua } of SCRIPTS) client.defineCommand(name, { numberOfKeys: keys, lua })
    client.on('ready', () => void this.#breaker.probe())
    client.on('error', (error: unknown) => {
      this.#breaker.reportFailure(error)
    })
    client.on('close', () => {
      this.#breaker.reportFailure(new Error('the connection was closed'))
    })
  }

  /** Waits for the first attempt to connect, but only briefly: the service works without Redis. */
  static async open(config: RedisConfig, deps: CommandsDeps): Promise<Commands> {
    const client = await createClient(config)
    const commands = new Commands(client, deps)
    const breaker = commands.#breaker
    const connected = client.connect().then(
      () => breaker.probe(),
      (error: unknown) => {
        breaker.reportFailure(error)
      },
    )
    await Promise.race([connected, pause(deps.clock, MAX_CONNECT_WAIT_MS)])
    if (!breaker.isSettled) breaker.reportFailure(new Error(TIMED_OUT))
    return commands
  }

  get isUp(): boolean {
    return this.#breaker.isUp
  }

  get outage(): StoreOutage | null {
    return this.#breaker.outage
  }

  /** The script's reply; undefined if it failed or was not sent. */
  script(
    { name }: Script,
    keys: readonly string[],
    args: readonly Argument[],
    timeoutMs?: number,
  ): Promise<unknown> {
    return this.#breaker.run(() => {
      const command = (this.#client as unknown as Record<string, Method>)[name] as Method
      return command.call(this.#client, ...keys, ...args)
    }, timeoutMs)
  }

  /** The command's reply; undefined if it failed or was not sent. */
  command(name: string, key: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#breaker.run(() => this.#client.call(name, key, ...args))
  }

  /** The keys that match a pattern, prefix included, in parts; ends with null if a command fails. */
  async *scan(pattern: string, timeoutMs: number): AsyncIterable<readonly string[] | null> {
    const client = this.#client
    for (const node of client.isCluster ? (client as Cluster).nodes('master') : [client as Redis]) {
      let cursor = '0'
      do {
        const scan = () => node.scan(cursor, 'MATCH', PREFIX + pattern, 'COUNT', SCAN_COUNT)
        const reply = await this.#breaker.run(scan, timeoutMs)
        if (!Array.isArray(reply)) {
          yield null
          return
        }
        const [next, keys] = reply
        cursor = next
        yield keys
      } while (cursor !== '0')
    }
  }

  /** Calls the listener with each message of a channel while Redis can be reached. One listener for each channel. */
  subscribe(channel: string, listener: (message: string) => void): void {
    this.#listeners.set(PREFIX + channel, listener)
    const subscriber = (this.#subscriber ??= this.#connectSubscriber())
    if (subscriber.status === 'ready') void this.#subscribeTo(subscriber, [PREFIX + channel])
  }

  /**
   * Calls the listener with false when the connection for messages is closed, and with true whenever messages may have
   * been missed up to now and can be asked for: it was subscribed again, or commands are sent again.
   */
  onListening(listener: (isListening: boolean) => void): void {
    this.#onListening = listener
  }

  async #subscribeTo(subscriber: Client, channels: readonly string[]): Promise<void> {
    try {
      await subscriber.subscribe(...channels)
      this.#onListening(true)
    } catch {
      // It subscribes again when it is connected again.
    }
  }

  #connectSubscriber(): Client {
    const subscriber = (this.#client as Redis).duplicate()
    subscriber.on('error', () => {}) // the circuit breaker of the commands reports outages
    subscriber.on('ready', () => void this.#subscribeTo(subscriber, [...this.#listeners.keys()]))
    subscriber.on('close', () => this.#onListening(false))
    subscriber.on('message', (name: string, message: string) => this.#listeners.get(name)?.(message))
    subscriber.connect().catch(() => {}) // it tries again by itself
    return subscriber
  }

  /** The server's `maxmemory-policy`; null if it is not known or no memory limit is set. */
  async evictionPolicy(): Promise<string | null> {
    try {
      const info = await this.#client.info('memory')
      const hasLimit = !/^maxmemory:0\r?$/m.test(info)
      return hasLimit ? (/^maxmemory_policy:([a-z-]{1,40})\r?$/m.exec(info)?.[1] ?? null) : null
    } catch {
      return null // few users may run INFO
    }
  }

  close(): void {
    this.#subscriber?.disconnect()
    this.#breaker.stop()
    this.#client.disconnect()
  }
}
