/**
 * Loaded into a server with --import: measures the event loop's delay and garbage collection from inside. On
 * `reset` by its parent it starts again, on `read` it answers with what it has measured since, in ms.
 */
import { constants, monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'

const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
let pauses = []
new PerformanceObserver((list) => {
  for (const { duration, detail } of list.getEntries()) pauses.push({ ms: duration, kind: detail.kind })
}).observe({ entryTypes: ['gc'] })

process.on('message', (wish) => {
  if (wish === 'reset') {
    delay.reset()
    pauses = []
    return
  }
  const longest = (which) => pauses.filter(which).reduce((most, { ms }) => Math.max(most, ms), 0)
  process.send({
    loopP99Ms: delay.percentile(99) / 1e6,
    loopMaxMs: delay.max / 1e6,
    longestPauseMs: longest(() => true),
    longestMajorMs: longest(({ kind }) => kind === constants.NODE_PERFORMANCE_GC_MAJOR),
  })
})
process.channel?.unref()
