import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Each process of the tests has so many ports of its own. */
const PORTS_PER_PROCESS = 64
const FIRST = 10_000
/** Where the ports begin that the system gives to those who ask for any. */
const DEFAULT_FIRST_EPHEMERAL = 32_768

let used = 0

/**
 * A port that nobody listens on, for a process whose output cannot be read or that is restarted. The system gives it to
 * nobody who asks for any port, and other processes of the tests choose others, so that it stays free until it is used.
 */
export async function freePort(): Promise<number> {
  const slices = Math.floor((firstEphemeral() - FIRST) / PORTS_PER_PROCESS)
  const slice = FIRST + (process.pid % slices) * PORTS_PER_PROCESS
  for (let attempts = 0; attempts < PORTS_PER_PROCESS; attempts++) {
    const port = slice + (used++ % PORTS_PER_PROCESS)
    if (await isFree(port)) return port
  }
  throw new Error(`no port from ${slice} to ${slice + PORTS_PER_PROCESS - 1} is free`)
}

function firstEphemeral(): number {
  try {
    const [first] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)
    return Math.max(Number(first), FIRST + PORTS_PER_PROCESS)
  } catch {
    return DEFAULT_FIRST_EPHEMERAL // another system
  }
}

function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}
