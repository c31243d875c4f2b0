import type { Clock } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import type { Client } from './client.ts'
import { createClient } from './client.ts'
import { RedisBreaker } from './breaker.ts'
import { TIMED_OUT } from './errors.ts'
import type { Script } from './scripts.ts'
import { SCRIPTS } from './scripts.ts'
import type { RedisConfig } from '../config/redis-url.ts'

export type Argument = string | number

/** Every key begins so; the number is raised when what is kept under a key changes its form. */
export const PREFIX = 'evproxy:1:'

/** A start waits no longer than this for the first attempt to connect. */
const LONGEST_OPENING_MS = 1_500

export interface CommandsDeps {
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged'>
}

type Method = (...args: readonly Argument[]) => Promise<unknown>

/** Commands to Redis, all of them through one gate. */
export class Commands {
  readonly #client: Client
  readonly #gate: RedisBreaker

  private constructor(client: Client, { clock, observer }: CommandsDeps) {
    this.#client = client
    this.#gate = new RedisBreaker({
      probe: () => client.set(`${PREFIX}probe`, 1, 'PX', 1_000),
      reconnect: () => {
        if (client.status === 'ready') client.disconnect(true)
      },
      clock,
      observer,
    })
    for (const { name, keys, lua } of SCRIPTS) client.defineCommand(name, { numberOfKeys: keys, lua })
    client.on('ready', () => void this.#gate.probe())
    client.on('error', (error: unknown) => {
      this.#gate.reportFailure(error)
    })
    client.on('close', () => {
      this.#gate.reportFailure(new Error('the connection was closed'))
    })
  }

  /** Waits for the first attempt to connect, but not for long: the service does without. */
  static async open(target: RedisConfig, parts: CommandsDeps): Promise<Commands> {
    const client = await createClient(target)
    const commands = new Commands(client, parts)
    const connected = client.connect().then(
      () => commands.#gate.probe(),
      (error: unknown) => {
        commands.#gate.reportFailure(error)
      },
    )
    const inTime = new Promise<void>((resolve) => void parts.clock.after(LONGEST_OPENING_MS, resolve))
    await Promise.race([connected, inTime])
    if (!commands.#gate.isSettled) commands.#gate.reportFailure(new Error(TIMED_OUT))
    return commands
  }

  get isUp(): boolean {
    return this.#gate.isUp
  }

  /** The script's reply; undefined if it failed, or nothing is sent now. */
  script({ name }: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.#gate.run(() => {
      const command = (this.#client as unknown as Record<string, Method>)[name] as Method
      return command.call(this.#client, ...keys.map((key) => PREFIX + key), ...args)
    })
  }

  /** A single command's reply; undefined if it failed, or nothing is sent now. */
  command(name: string, key: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#gate.run(() => this.#client.call(name, PREFIX + key, ...args))
  }

  close(): void {
    this.#gate.close()
    this.#client.disconnect()
  }
}
