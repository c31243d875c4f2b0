import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Test } from 'tap'
import t from 'tap'
import { systemClock } from '../../../src/lib/clock.ts'
import { createTomTom } from '../../../src/upstream/tomtom/client.ts'
import type { Script } from '../../support/scripted-upstream.ts'
import { answerStation, answerStatus, ScriptedUpstream } from '../../support/scripted-upstream.ts'
import { CALLER } from '../doubles.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const WARM_UP = 300
const COUNT = 1_000
/** A timer until the deadline, with what listens to it, kept 5,500. */
const MAX_BYTES_PER_CALL = 1_500

/** Bytes of heap that each of the calls leaves behind, long before its deadline. */
async function heapPerCall(t: Test, script: Script): Promise<number> {
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  const { source, close } = createTomTom(
    { baseUrl: upstream.origin, timeoutMs: 300_000, maxConnections: 1, userAgent: 'test' },
    {
      apiKey: () => 'key-0123456789',
      clock: systemClock,
      observer: { upstreamAnswered: () => {} },
    },
  )
  t.teardown(close)
  const call = async (count: number) => {
    for (let i = 0; i < count; i++) await source('a', CALLER).catch(() => {})
    upstream.calls.length = 0
    await new Promise((resolve) => setTimeout(resolve, 20)) // bodies that are dumped have ended
    collect()
    return process.memoryUsage().heapUsed
  }
  const before = await call(WARM_UP)
  return ((await call(COUNT)) - before) / COUNT
}

for (const [name, script] of [
  ['was answered', answerStation],
  ['failed', answerStatus(500, 'no'.repeat(100))],
  ['was rejected', answerStatus(429, '{}')],
] as const) {
  await t.test(`nothing of a call that ${name} is kept until its deadline`, async (t) => {
    const bytes = await heapPerCall(t, script)
    t.ok(bytes < MAX_BYTES_PER_CALL, `${bytes.toFixed(0)} bytes`)
  })
}
