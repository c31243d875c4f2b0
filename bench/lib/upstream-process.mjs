/** The benchmarks' upstream as a process, and what it counted. */
import { fileURLToPath } from 'node:url'
import { freePort, LOAD_CORE, startServer } from './process.mjs'

const FILE = fileURLToPath(new URL('upstream.mjs', import.meta.url))

/** Answers after a delay; calls over a rate per second are rejected (0: none). */
export async function startUpstream({ latencyMs = 0, perSecond = 0 } = {}) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const env = { PORT: String(port), UPSTREAM_LATENCY: String(latencyMs), UPSTREAM_LIMIT: String(perSecond) }
  const server = await startServer(process.execPath, [FILE], { env, probe: `${url}/calls`, core: LOAD_CORE })
  return {
    port,
    url,
    stop: server.stop,
    async counts() {
      const answer = await fetch(`${url}/calls`)
      return answer.json()
    },
  }
}
