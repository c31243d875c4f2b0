import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const MAX_RUN_MS = 60_000

/** The `skip` of tests that need a network namespace with these commands working in it: the reason, or false. */
export function noNamespace(...setup: readonly string[]): string | false {
  try {
    execFileSync(
      'unshare',
      ['-r', '-n', '-m', 'sh', '-e', '-c', ['ip link set lo up', ...setup].join('\n')],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    return false
  } catch (error) {
    return `no network namespace with ${setup.join(', ') || 'a loopback interface'}: ${String(error).split('\n').at(-2)}`
  }
}

export interface NamespaceOptions {
  /** Shell commands that prepare the network. */
  readonly setup: readonly string[]
  /** The lines of /etc/hosts. */
  readonly hosts: readonly string[]
  /** The folder of a built service. */
  readonly dir: string
  readonly env?: Readonly<Record<string, string>>
  /** The body of an async function of `request(url)`, `upstream`, `logs()`, `logged(msg)`; its value as JSON is the result. */
  readonly script: string
}

/** Runs the built service and its upstream in a network namespace of their own, and a script that uses them. */
export async function inNamespace({
  setup,
  hosts,
  dir,
  env = {},
  script,
}: NamespaceOptions): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'evproxy-netns-'))
  try {
    writeFileSync(join(folder, 'hosts'), `${hosts.join('\n')}\n`)
    writeFileSync(join(folder, 'driver.mjs'), driver(dir, env, script))
    const prepare = ['ip link set lo up', ...setup, `mount --bind ${join(folder, 'hosts')} /etc/hosts`]
    const command = [...prepare, `exec ${process.execPath} ${join(folder, 'driver.mjs')}`].join('\n')
    const environment = { PATH: process.env['PATH'] ?? '' } // not that of the tests: it has loaders and settings
    const { stdout } = await run('unshare', ['-r', '-n', '-m', 'sh', '-e', '-c', command], {
      env: environment,
      timeout: MAX_RUN_MS,
    })
    return JSON.parse(stdout)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** JavaScript, because it runs without the loaders of the tests. */
function driver(dir: string, env: Readonly<Record<string, string>>, script: string): string {
  return `
import { spawn } from 'node:child_process'
import { createServer, get } from 'node:http'

const upstream = { calls: 0, families: [] }
const server = createServer(({ url, headers, socket }, response) => {
  upstream.calls++
  upstream.families.push(socket.remoteAddress.startsWith('::ffff:') ? 'IPv4' : 'IPv6')
  const chargingAvailability = new URL(url, 'http://upstream').searchParams.get('chargingAvailability')
  response.end(JSON.stringify({ chargingAvailability, connectors: [] }))
})
await new Promise((resolve) => server.listen(9000, '::', resolve))
const env = { PATH: process.env.PATH, TOMTOM_API_KEY: 'key-0123456789', TOMTOM_BASE_URL: 'http://upstream.example:9000', ...${JSON.stringify(env)} }
const child = spawn(process.execPath, [${JSON.stringify(join(dir, 'dist/main.js'))}], { env, stdio: ['ignore', 'pipe', 'inherit'] })
process.on('exit', () => child.kill('SIGKILL'))
setTimeout(() => process.exit(1), ${MAX_RUN_MS}) // the test itself may have been ended
let output = ''
child.stdout.on('data', (bytes) => (output += bytes))
const logs = () => output.split('\\n').filter(Boolean).map((line) => JSON.parse(line))
const logged = async (message) => {
  for (;;) {
    const line = logs().find(({ msg }) => msg === message)
    if (line) return line
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
while (!output.includes('"started"')) {
  if (child.exitCode !== null) throw new Error('the service ended: ' + output)
  await new Promise((resolve) => setTimeout(resolve, 20))
}
const request = (url) => {
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => {
      let text = ''
      response.on('data', (bytes) => (text += bytes))
      response.on('end', () => resolve({ status: response.statusCode, text, ms: performance.now() - startedAt }))
    }).on('error', reject)
  })
}
const result = await (async () => {
${script}
})()
process.stdout.write(JSON.stringify(result))
process.exit(0)
`
}
