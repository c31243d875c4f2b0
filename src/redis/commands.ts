import type { Clock } from '../clock.ts'
import type { Observer } from '../observer.ts'
import type { Client } from './connect.ts'
import { createClient } from './connect.ts'
import { Gate } from './gate.ts'
import { TIMED_OUT } from './reason.ts'
import type { Script } from './scripts.ts'
import { SCRIPTS } from './scripts.ts'
import type { RedisTarget } from './target.ts'

export type Argument = string | number

/** Every key begins so; the number is raised when what is kept under a key changes its form. */
export const PREFIX = 'evproxy:1:'

/** A start waits no longer than this for the first attempt to connect. */
const LONGEST_OPENING_MS = 1_500

export interface CommandsParts {
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'sharedTierChanged'>
}

type Method = (...args: readonly Argument[]) => Promise<unknown>

/** Commands to Redis, all of them through one gate. */
export class Commands {
  readonly #client: Client
  readonly #gate: Gate

  private constructor(client: Client, { clock, observer }: CommandsParts) {
    this.#client = client
    this.#gate = new Gate({
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
      this.#gate.failed(error)
    })
    client.on('close', () => {
      this.#gate.failed(new Error('the connection was closed'))
    })
  }

  /** Waits for the first attempt to connect, but not for long: the service does without. */
  static async open(target: RedisTarget, parts: CommandsParts): Promise<Commands> {
    const client = await createClient(target)
    const commands = new Commands(client, parts)
    const connected = client.connect().then(
      () => commands.#gate.probe(),
      (error: unknown) => {
        commands.#gate.failed(error)
      },
    )
    const inTime = new Promise<void>((resolve) => void parts.clock.after(LONGEST_OPENING_MS, resolve))
    await Promise.race([connected, inTime])
    if (!commands.#gate.isSettled) commands.#gate.failed(new Error(TIMED_OUT))
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
