import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from './until.ts'

export const NGINX = '/usr/sbin/nginx'
export const HAPROXY = '/usr/sbin/haproxy'

/** A load balancer with a configuration of examples/, in front of two replicas. */
export interface Balancer {
  readonly url: string
  /** What it has logged so far. */
  readonly log: () => string
}

/** The addresses (host:port) of a replica's listeners. */
export interface Replica {
  readonly public: string
  readonly admin: string
}

const REPLICAS = [1, 2].map((i) => ({ public: `127.0.0.1:800${i}`, adminPort: `900${i}` }))

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const example = (name: string) => readFileSync(new URL(`../../examples/${name}`, import.meta.url), 'utf8')

/** The configuration with the addresses of these replicas. */
function pointedAt(text: string, replicas: readonly [Replica, Replica]): string {
  return replicas.reduce((config, { public: address, admin }, i) => {
    const { public: from = '', adminPort = '' } = REPLICAS[i] ?? {}
    return config.replace(from, address).replace(`port ${adminPort}`, `port ${admin.split(':').at(-1)}`)
  }, text)
}

async function run(
  t: Test,
  command: string,
  args: readonly string[],
  folder: string,
  url: string,
): Promise<Balancer> {
  // A file, because nginx cannot open /dev/stdout where that is a socket, as Node's pipes are.
  const logFile = join(folder, 'log')
  const output = openSync(logFile, 'a')
  const child = spawn(command, args, { stdio: ['ignore', output, output] })
  const closed = once(child, 'close')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await closed
  })
  const answers = () =>
    fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    )
  await until(`${command} answers`, answers)
  return { url, log: () => readFileSync(logFile, 'utf8') }
}

export function startNginx(t: Test, replicas: readonly [Replica, Replica]): Promise<Balancer> {
  return startNginxWith(t, (listen) =>
    pointedAt(example('nginx/nginx.conf'), replicas)
      .replace('listen 8443', `listen ${listen}`)
      .replace('/tmp/nginx-ev-availability.pid', 'nginx.pid'),
  )
}

/** nginx with the configuration for an address; its pid file must be `nginx.pid`. */
export async function startNginxWith(t: Test, configFor: (listen: string) => string): Promise<Balancer> {
  const listen = `127.0.0.1:${await freePort()}`
  const folder = t.testdir({ 'nginx.conf': configFor(listen) })
  const args = ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', 'daemon off; master_process off;']
  return run(t, NGINX, args, folder, `http://${listen}`)
}

export async function startHaproxy(t: Test, replicas: readonly [Replica, Replica]): Promise<Balancer> {
  const port = await freePort()
  const config = pointedAt(example('haproxy/haproxy.cfg'), replicas).replace(
    'bind :8443',
    `bind 127.0.0.1:${port}`,
  )
  const folder = t.testdir({ 'haproxy.cfg': config })
  return run(t, HAPROXY, ['-db', '-f', join(folder, 'haproxy.cfg')], folder, `http://127.0.0.1:${port}`)
}
