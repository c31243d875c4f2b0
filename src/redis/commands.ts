import type { Clock } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import type { RedisConfig } from '../config/redis-url.ts'
import { RedisBreaker } from './breaker.ts'
import type { Client } from './client.ts'
import { createClient } from './client.ts'
import { TIMED_OUT } from './errors.ts'
import { PROBE_KEY } from './keys.ts'
import type { Script } from './scripts.ts'
import { QUOTA_UPDATE } from './quota-script.ts'
import { LEASE_GET, PUBLISH, RELEASE, RENEW, TAKE_TOKEN } from './scripts.ts'

export type Argument = string | number

const SCRIPTS: readonly Script[] = [LEASE_GET, PUBLISH, RENEW, RELEASE, TAKE_TOKEN, QUOTA_UPDATE]

/** The start of the service waits no longer than this for the first attempt to connect. */
const MAX_CONNECT_WAIT_MS = 1_500
const PROBE_VALUE_MS = 1_000

export interface CommandsDeps {
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged' | 'sharedCommandRejected'>
}

type Method = (...args: readonly Argument[]) => Promise<unknown>

/** Commands to Redis, behind one circuit breaker. */
export class Commands {
  readonly #client: Client
  readonly #breaker: RedisBreaker

  private constructor(client: Client, { clock, observer }: CommandsDeps) {
    this.#client = client
    this.#breaker = new RedisBreaker({
      probe: () => client.set(PROBE_KEY, 1, 'PX', PROBE_VALUE_MS),
      reconnect: () => {
        if (client.status === 'ready') client.disconnect(true)
      },
      clock,
      observer,
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
    const timeout = new Promise<void>((resolve) => void deps.clock.after(MAX_CONNECT_WAIT_MS, resolve))
    await Promise.race([connected, timeout])
    if (!breaker.isSettled) breaker.reportFailure(new Error(TIMED_OUT))
    return commands
  }

  get isUp(): boolean {
    return this.#breaker.isUp
  }

  /** The script's reply; undefined if it failed or was not sent. */
  script({ name }: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.#breaker.run(() => {
      const command = (this.#client as unknown as Record<string, Method>)[name] as Method
      return command.call(this.#client, ...keys, ...args)
    })
  }

  /** The command's reply; undefined if it failed or was not sent. */
  command(name: string, key: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#breaker.run(() => this.#client.call(name, key, ...args))
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
    this.#breaker.stop()
    this.#client.disconnect()
  }
}
