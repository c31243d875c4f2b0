// The inner loop: the simulator and, in front of it, the proxy under `node --watch`. A change in src/ compiles again, which
// restarts the proxy. Arguments such as --inspect go to the proxy's node. Settings come from the environment.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { watch } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const KEY = 'dev-key-not-a-secret'
/** An editor that saves writes several times; one compilation is enough. */
const QUIET_MS = 100

const children = []
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void stop())

compile()
const simulator = start(['dist/simulator/main.js'], 'pipe', {
  SIM_HOST: '127.0.0.1',
  SIM_PORT: process.env.SIM_PORT || '9090',
  SIM_KEY: KEY,
})
const [line] = await once(createInterface(simulator.stdout), 'line')
process.stdout.write(`${line}\n`)
start(['--watch', '--watch-preserve-output', ...process.argv.slice(2), 'dist/main.js'], 'inherit', {
  TOMTOM_BASE_URL: JSON.parse(line).url,
  TOMTOM_API_KEY: KEY,
  TOMTOM_API_KEY_FILE: '',
  HOST: process.env.HOST || '127.0.0.1',
  LOG_LEVEL: process.env.LOG_LEVEL || 'debug',
  ACCESS_LOG: process.env.ACCESS_LOG || 'true',
})
watchSources()

/** Without a clean folder before it: a file that vanishes and returns would restart the proxy twice. */
function compile() {
  for (const args of [
    ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
    ['scripts/copy-page.mjs'],
  ]) {
    try {
      execFileSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
    } catch {
      return // tsc has printed its errors, and the next change compiles again
    }
  }
}

function watchSources() {
  let timer = null
  watch(`${ROOT}src`, { recursive: true }, () => {
    clearTimeout(timer)
    timer = setTimeout(compile, QUIET_MS)
  })
}

/** In a process group of its own: Ctrl-C reaches the whole group of the terminal, and stop() signals each child once. */
function start(args, stdout, settings) {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...settings },
    stdio: ['ignore', stdout, 'inherit'],
    detached: true,
  })
  children.push(child)
  child.once('exit', (code) => {
    if (code !== 0) process.exitCode = 1
    void stop()
  })
  return child
}

async function stop() {
  const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
  const exits = running.map((child) => once(child, 'exit'))
  for (const child of running) child.kill('SIGTERM')
  await Promise.all(exits)
  process.exit()
}
