import type { ChildProcess } from 'node:child_process'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { copyCheckout } from '../support/checkout.ts'
import { freePort } from '../support/free-port.ts'
import { missing } from '../support/requirements.ts'
import { until } from '../support/until.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(join(ROOT, 'docs/getting-started.md'), 'utf8')

/** One instruction of the page, in its order. */
type Step =
  | { readonly kind: 'run'; readonly command: string; readonly output: string | null }
  | { readonly kind: 'start'; readonly terminal: string; readonly command: string }
  | { readonly kind: 'stop'; readonly terminal: string }

const STEP =
  /<!-- stop: (?<stop>\w+) -->|(?:<!-- terminal: (?<terminal>\w+) -->\n\n)?```sh\n(?<command>[^]*?)```(?:\n\n```text\n(?<output>[^]*?)```)?/g

function stepsOf(text: string): Step[] {
  return [...text.matchAll(STEP)].map(({ groups = {} }) => {
    const { stop, terminal, command = '', output = null } = groups
    if (stop !== undefined) return { kind: 'stop', terminal: stop }
    if (terminal !== undefined) return { kind: 'start', terminal, command }
    return { kind: 'run', command, output }
  })
}

/** Seconds of age and TTL depend on the machine. */
const withoutSeconds = (text: string) => text.replaceAll('\r', '').replaceAll(/(age: |ttl=-?)\d+/g, '$1N')

/** The terminals of the page: their processes by name, all in one folder, on ports of the system's choice. */
class Terminals {
  readonly #dir = copyCheckout()
  readonly #ports: ReadonlyMap<string, number>
  readonly #children = new Map<string, ChildProcess>()

  constructor(ports: ReadonlyMap<string, number>) {
    this.#ports = ports
  }

  get #options() {
    const env = { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), ...this.#settings }
    return { cwd: this.#dir, env }
  }

  get #settings() {
    const port = (name: string) => String(this.#ports.get(name))
    return { PORT: port('8080'), ADMIN_PORT: port('8081'), SIM_PORT: port('9090') }
  }

  #onOtherPorts(command: string): string {
    // Dependencies are installed already.
    const text = command.replace('npm ci && ', '')
    return text.replaceAll(/127\.0\.0\.1:(\d+)/g, (_, port: string) => `127.0.0.1:${this.#ports.get(port)}`)
  }

  async run(command: string): Promise<string> {
    const { stdout } = await promisify(execFile)('bash', ['-c', this.#onOtherPorts(command)], this.#options)
    return stdout
  }

  async start(terminal: string, command: string): Promise<void> {
    const options = { ...this.#options, detached: true, stdio: ['ignore', 'pipe', 'inherit'] as const }
    const child = spawn('bash', ['-c', this.#onOtherPorts(command)], {
      ...options,
      stdio: [...options.stdio],
    })
    this.#children.set(terminal, child)
    let printed = ''
    child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null
    await until(`the ${terminal} has started`, () => printed.includes('started') || hasEnded())
    if (hasEnded()) throw new Error(`the ${terminal} has ended: ${printed}`)
  }

  /** As Ctrl-C: the signal goes to the whole process group. */
  async stop(terminal: string, signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
    const child = this.#children.get(terminal)
    if (child?.pid === undefined) return
    this.#children.delete(terminal)
    const closed = once(child, 'close')
    process.kill(-child.pid, signal)
    await closed
  }

  async stopAll(): Promise<void> {
    const running = [...this.#children].filter(
      ([, child]) => child.exitCode === null && child.signalCode === null,
    )
    await Promise.all(running.map(([terminal]) => this.stop(terminal, 'SIGKILL')))
  }
}

await t.test(
  'the commands of getting-started.md, run in their order, print what the page shows',
  { skip: missing('bash', 'curl', 'grep') },
  async (t) => {
    const terminals = new Terminals(
      new Map([
        ['8080', await freePort()],
        ['8081', await freePort()],
        ['9090', await freePort()],
      ]),
    )
    t.teardown(() => terminals.stopAll())
    const printed: string[] = []
    const steps = stepsOf(page)
    for (const step of steps) {
      if (step.kind === 'stop') await terminals.stop(step.terminal)
      else if (step.kind === 'start') await terminals.start(step.terminal, step.command)
      else {
        const output = await terminals.run(step.command)
        if (step.output !== null) printed.push(withoutSeconds(output).trim())
      }
    }
    const shown = steps.flatMap((step) =>
      step.kind === 'run' && step.output !== null ? [withoutSeconds(step.output).trim()] : [],
    )
    t.strictSame(printed, shown)
  },
)

await t.test('getting-started.md has no command that the test does not run', (t) => {
  const fences = [...page.matchAll(/^```sh$/gm)].length
  t.equal(stepsOf(page).filter(({ kind }) => kind !== 'stop').length, fences)
  t.ok(fences > 10)
  t.end()
})
