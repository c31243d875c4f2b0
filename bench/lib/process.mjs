/** Server processes under measurement: started on a core of their own, their CPU time read from the kernel. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

const TICKS_PER_SECOND = 100 // Linux's USER_HZ, whatever the kernel's own rate

/** A port that is free now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a command on core 0 and waits until it accepts requests. */
export async function startServer(command, args, { env = {}, probe, cwd }) {
  const child = spawn('taskset', ['-c', '0', command, ...args], {
    env: { ...process.env, ...env },
    cwd,
    stdio: ['ignore', 'ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore'],
  })
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null) throw new Error(`${command} ${args.join(' ')} ended with ${child.exitCode}`)
    const answers = await fetch(probe).then(
      (answer) => answer.arrayBuffer().then(() => true),
      () => false,
    )
    if (answers) break
    if (tries > 200) throw new Error(`${command} ${args.join(' ')} does not answer`)
    await wait(50)
  }
  return {
    pid: child.pid,
    async stop() {
      if (child.exitCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** CPU seconds, user and system, that a process and the children it still has have used. */
export function cpuSeconds(pid) {
  return familyOf(pid).reduce((sum, member) => sum + ownCpuSeconds(member), 0)
}

function ownCpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

function familyOf(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => familyOf(Number(child))))]
}
