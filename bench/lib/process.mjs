/** Server processes under measurement: started on a core of their own, their CPU time read from the kernel. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/** The server under measurement has core 0; the load, and upstream where it matters, core 1. */
export const SERVER_CORE = '0'
export const LOAD_CORE = '1'

const TICKS_PER_SECOND = 100 // Linux's USER_HZ, whatever the kernel's own rate
const STOP_LIMIT_MS = 15_000
const running = new Set()

process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM') // SIGKILL would orphan the workers of nginx
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** No child outlives the benchmarks, however they end. */
export function endWithUs(child) {
  running.add(child)
  child.once('exit', () => running.delete(child))
}

/** Where the program is, or null. Debian keeps daemons where not everybody looks. */
export function programPath(name) {
  for (const folder of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return join(folder, name)
    } catch {
      // not in this folder
    }
  }
  return null
}

/** Moves this process, the load generator, away from the server. */
export function useLoadCore() {
  execFileSync('taskset', ['-a', '-c', '-p', LOAD_CORE, String(process.pid)], { stdio: 'ignore' })
}

/** A port that is free now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a command on a core and waits until the probe's URL is answered with 200. `ipc` opens a channel to it. */
export async function startServer(command, args, { env = {}, probe, cwd, core = SERVER_CORE, ipc = false }) {
  const err = process.env.BENCH_VERBOSE ? 'inherit' : 'ignore'
  const child = spawn('taskset', ['-c', core, command, ...args], {
    env: { ...process.env, ...env },
    cwd,
    stdio: ['ignore', err, err, ...(ipc ? ['ipc'] : [])],
  })
  endWithUs(child)
  for (let tries = 0; !(await answers(probe)); tries++) {
    if (child.exitCode !== null) throw new Error(`${command} ${args.join(' ')} ended with ${child.exitCode}`)
    if (tries > 400) throw new Error(`${command} ${args.join(' ')} does not answer`)
    await wait(25)
  }
  return { pid: child.pid, child, stop: () => stop(child) }
}

async function answers(url) {
  try {
    const answer = await fetch(url)
    await answer.arrayBuffer()
    return answer.status === 200
  } catch {
    return false
  }
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const hard = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS)
  await ended
  clearTimeout(hard)
}

/** CPU seconds, user and system, that a process and the children it still has have used. */
export function cpuSeconds(pid) {
  return familyOf(pid).reduce((sum, member) => sum + ownCpuSeconds(member), 0)
}

function ownCpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

function familyOf(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => familyOf(Number(child))))]
}
