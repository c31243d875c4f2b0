import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { copyCheckout } from '../support/checkout.ts'
import { until } from '../support/until.ts'

const START_MS = 50_000

await t.test(
  'npm run dev restarts the proxy after a change of a source file, and Ctrl-C ends it',
  async (t) => {
    const dir = copyCheckout()
    const env = { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), PORT: '0', ADMIN_PORT: '0', SIM_PORT: '0' }
    // tap puts a loader into NODE_OPTIONS of every child, and the compiler cannot start with it.
    const dev = spawn('env', ['-u', 'NODE_OPTIONS', 'npm', 'run', '--silent', 'dev'], {
      cwd: dir,
      env,
      detached: true,
    })
    const closed = once(dev, 'close') // once no process holds its output any more
    t.teardown(() => {
      if (dev.exitCode === null && dev.signalCode === null) process.kill(-(dev.pid as number), 'SIGKILL')
    })
    let printed = ''
    for (const stream of [dev.stdout, dev.stderr]) {
      stream.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    }
    const starts = () => printed.split('"msg":"started"').length - 1
    await until('the proxy has started', () => starts() === 1, START_MS)
    appendFileSync(join(dir, 'src/main.ts'), '\n')
    await until('the proxy has started again', () => starts() === 2, START_MS)
    process.kill(-(dev.pid as number), 'SIGINT')
    await closed
    t.ok(starts() >= 2, 'and no process is left that holds the output')
  },
)
