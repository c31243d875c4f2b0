import type { StartService } from './fuzz-run.ts'
import { ensure } from './fuzz-target.ts'
import { IMAGE_SETTINGS, MAX_MB, MAX_TURN_MS } from './image.ts'
import { build, Process } from './process.ts'
import { loopCpuMs, turnReport } from './turn-watch.ts'

/* The services that the fuzzer attacks, as processes with the settings of the image. */

export interface ServiceProcesses {
  readonly start: StartService
  /** @throws Error if one of them has ended, has grown too large, or had a turn that was too long */
  readonly check: (kind: string) => Promise<void>
  /** The longest turn and the most memory so far. */
  readonly summary: () => string
}

export async function prepareProcesses(): Promise<ServiceProcesses> {
  const dir = await build()
  const services: Process[] = []
  process.once('exit', () => {
    for (const { child } of services) child.kill('SIGKILL')
  })
  let isStopping = false
  let slowestMs = 0
  let largestMb = 0

  const start: StartService = async (origin, env) => {
    const settings = { ...IMAGE_SETTINGS, ACCESS_LOG: 'true', TOMTOM_BASE_URL: origin, ...env }
    const service = new Process(dir, settings)
    services.push(service)
    const urls = await service.urls()
    const { child } = service
    child.stdout?.pause() // nobody reads the log
    child.once('exit', () => child.stdout?.resume())
    await turnReport(child) // the start is not attacked
    const reportEnd = async () => {
      const how = await service.exited
      if (!isStopping) console.error(`the service has ended with ${how}: ${service.stderr.slice(-2_000)}`)
    }
    void reportEnd()
    const stop = async () => {
      isStopping = true
      child.kill('SIGKILL')
      child.stdout?.resume()
      await service.exited
    }
    return { ...urls, cpuMs: () => loopCpuMs(child.pid as number), stop }
  }

  const check = async (kind: string) => {
    const reports = await Promise.all(services.map(({ child }) => turnReport(child)))
    const turnMs = Math.max(...reports.map((report) => report.slowestMs))
    const mb = Math.max(...reports.map((report) => report.largestMb))
    slowestMs = Math.max(slowestMs, turnMs)
    largestMb = Math.max(largestMb, mb)
    ensure(`${kind}: a turn of less than ${MAX_TURN_MS} ms`, turnMs < MAX_TURN_MS, `${turnMs} ms`)
    ensure(`${kind}: less than ${MAX_MB} MB`, mb < MAX_MB, `${mb} MB`)
  }
  const summary = () => `longest turn ${slowestMs.toFixed(0)} ms, at most ${largestMb.toFixed(0)} MB`
  return { start, check, summary }
}
