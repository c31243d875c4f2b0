import type { ChildProcess } from 'node:child_process'
import { execFile, spawn } from 'node:child_process'
import { cpSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { until } from './until.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Folders of src/ that the service serves as they are. */
const PAGES = ['http/docs', 'ops/status/page']
const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Runs TypeScript's compiler; rejects if it reports an error. Its program itself, because tap puts loaders into every
 * process of Node.js, with which the package's own start script does not work.
 */
export async function tsc(...args: readonly string[]): Promise<string> {
  const platform = `@typescript/typescript-${process.platform}-${process.arch}/package.json`
  const { resolve } = createRequire(join(root, 'node_modules/typescript/package.json'))
  const { stdout } = await promisify(execFile)(join(dirname(resolve(platform)), 'lib/tsc'), args, {
    cwd: root,
  })
  return stdout
}

/** Builds the service into a folder outside of the checkout, with the files that it reads; returns the folder. */
export async function build(): Promise<string> {
  const dir = temporaryFolder()
  for (const name of ['package.json', 'openapi.yaml', 'node_modules']) {
    symlinkSync(join(root, name), join(dir, name))
  }
  await tsc('-p', join(root, 'tsconfig.build.json'), '--outDir', join(dir, 'dist'))
  for (const name of PAGES) cpSync(join(root, 'src', name), join(dir, 'dist', name), { recursive: true })
  return dir
}

function urlOf(listener: unknown): string {
  return `http://127.0.0.1:${(listener as AddressInfo).port}`
}

/** A start takes half a second, but on a machine that is busy with other tests much longer. */
const MAX_START_MS = 30_000

/**
 * The options of Node.js of a test are the only ones. To those of every process tap adds its own, which read all source maps:
 * that takes a quarter of the heap of the image.
 */
function withOptionsOf({ NODE_OPTIONS: options }: Record<string, string>): string[] {
  return options === undefined ? [] : ['/usr/bin/env', `NODE_OPTIONS=${options}`]
}

/** The service as a child process. */
export class Process {
  readonly child: ChildProcess
  readonly startedAt = performance.now()
  stdout = ''
  stderr = ''
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals | null>

  /** `prefix` is a program that starts the service, with its arguments. */
  constructor(dir: string, environment: Record<string, string>, prefix: readonly string[] = []) {
    const [program, ...args] = [
      ...prefix,
      ...withOptionsOf(environment),
      process.execPath,
      join(dir, 'dist/main.js'),
    ]
    this.child = spawn(program, args, {
      cwd: tmpdir(),
      // Not the environment of the tests: it has loaders and settings.
      env: { PATH: process.env['PATH'] ?? '', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve(code ?? signal))
    })
  }

  /** Its log lines so far. */
  get lines(): Record<string, unknown>[] {
    const whole = this.stdout.slice(0, this.stdout.lastIndexOf('\n') + 1)
    return whole
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  /** Waits for a line with this message and returns the first. */
  async logged(message: string, withinMs?: number): Promise<Record<string, unknown>> {
    const find = () => this.lines.find(({ msg }) => msg === message)
    await until(`the log has "${message}"`, () => find() !== undefined, withinMs)
    return find() as Record<string, unknown>
  }

  async urls(): Promise<{ url: string; adminUrl: string }> {
    const line = await this.logged('started', MAX_START_MS)
    return { url: urlOf(line['public']), adminUrl: urlOf(line['admin']) }
  }
}
