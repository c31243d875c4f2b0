import type { ChildProcess } from 'node:child_process'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { missing } from './requirements.ts'
import { until } from './until.ts'

const PROGRAM = process.env['REDIS_SERVER'] ?? 'redis-server'

/** The `skip` of tests that need Redis. */
export const NO_REDIS = missing(PROGRAM, 'redis-cli')

/**
 * A redis-server for one test: on a free port, in a temporary directory, removed with the test. `REDIS_SERVER` names
 * another program with the same protocol, such as valkey-server.
 */
export class RedisServer {
  readonly port: number
  readonly #args: readonly string[]
  readonly #dir = mkdtempSync(join(tmpdir(), 'evproxy-redis-'))
  #child: ChildProcess | null = null

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.#args = args
  }

  /** `args` are redis-server's own options. */
  static async start(t: Test, args: readonly string[] = []): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args)
    t.teardown(() => server.#remove())
    await server.restart()
    return server
  }

  /** A server that is not started yet. */
  static async reserve(t: Test): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), [])
    t.teardown(() => server.#remove())
    return server
  }

  /** A sentinel that monitors a primary, with short timeouts. */
  static async sentinel(t: Test, name: string, primaryPort: number): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), [])
    t.teardown(() => server.#remove())
    const config = join(server.#dir, 'sentinel.conf')
    const watch = `sentinel monitor ${name} 127.0.0.1 ${primaryPort} 1`
    const timeouts = `sentinel down-after-milliseconds ${name} 500\nsentinel failover-timeout ${name} 2000`
    writeFileSync(config, `${watch}\n${timeouts}\n`)
    await server.#launch([config, '--sentinel', ...server.#address()])
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it, empty. */
  async restart(): Promise<void> {
    await this.#launch([...this.#address(), '--save', '', '--appendonly', 'no', ...this.#args])
  }

  /** The output of redis-cli for a command. */
  async cli(...command: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('redis-cli', ['-p', `${this.port}`, ...command])
    return stdout.trimEnd()
  }

  /** It still accepts connections, and answers nothing. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  /** Ends it at once and loses its data. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null) return
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }

  #address(): string[] {
    return ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.#dir, '--daemonize', 'no']
  }

  async #launch(args: readonly string[]): Promise<void> {
    const child = spawn(PROGRAM, args, { stdio: 'ignore' })
    this.#child = child
    const failed = new Promise<never>((_, reject) => {
      child.once('error', (cause) => {
        const advice = 'these tests need it (apt-get install redis-server)'
        reject(new Error(`${PROGRAM} cannot be started: ${advice}`, { cause }))
      })
    })
    await Promise.race([failed, until('redis-server answers', () => this.#answers())])
  }

  async #answers(): Promise<boolean> {
    return this.cli('PING').then(
      (reply) => reply !== '',
      () => false,
    )
  }

  async #remove(): Promise<void> {
    await this.kill()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
