import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

/*
 * How long a process keeps its event loop, and how large it becomes, measured inside of it. CPU time of the thread, and
 * memory that is the process's own (a container does not count the pages of Node's program): neither depends on what
 * else the machine does.
 */

export interface TurnReport {
  /** CPU time of the longest turn of the event loop since the last report, in ms. */
  readonly slowestMs: number
  /** Most anonymous memory since the last report, in MB. */
  readonly largestMb: number
}

/** The timer runs once per turn at most, and at the end of each that takes longer than 1 ms. */
const PRELOAD = `
import { readFileSync } from 'node:fs'
const read = (name) => readFileSync('/proc/self/' + name, 'latin1')
const cpuMs = () => Number(read('task/' + process.pid + '/schedstat').split(' ')[0]) / 1e6
let last = cpuMs(), slowestMs = 0, largestMb = 0
const note = () => {
  slowestMs = Math.max(slowestMs, cpuMs() - last)
  largestMb = Math.max(largestMb, Number(/RssAnon:\\s+(\\d+)/.exec(read('status'))[1]) / 1024)
  last = cpuMs()
}
setInterval(note, 1).unref()
process.on('SIGUSR2', () => {
  note()
  process.stderr.write('turns ' + JSON.stringify({ slowestMs, largestMb }) + '\\n')
  slowestMs = largestMb = 0
})
`

/** CPU time so far of a process's thread with the event loop, in ms. */
export function loopCpuMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6
}

/** An option of Node for the process that is watched. */
export const TURN_WATCH = `--import=data:text/javascript,${encodeURIComponent(PRELOAD)}`

/** What was seen since the last report. The child's stderr is a pipe in text mode. */
export async function turnReport(child: ChildProcess): Promise<TurnReport> {
  const { stderr } = child
  if (stderr === null) throw new Error('stderr is not a pipe')
  let text = ''
  let onData = (_chunk: string) => {}
  let onExit = () => {}
  try {
    const line = await new Promise<string>((resolve, reject) => {
      onData = (chunk) => {
        text += chunk
        const found = /^turns (.*)\n/m.exec(text)?.[1]
        if (found !== undefined) resolve(found)
      }
      onExit = () => reject(new Error(`the process ended with ${child.exitCode ?? child.signalCode}`))
      stderr.on('data', onData)
      child.on('exit', onExit)
      if (!child.kill('SIGUSR2')) onExit()
    })
    return JSON.parse(line) as TurnReport
  } finally {
    stderr.off('data', onData)
    child.off('exit', onExit)
  }
}
