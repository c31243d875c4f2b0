/** From the start of the process to its first answers: `/livez`, and the proxied route with a call upstream. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { firstAnswer } from '../lib/first-answer.mjs'
import { endWithUs, freePort, SERVER_CORE } from '../lib/process.mjs'
import { spread, table } from '../lib/stats.mjs'
import { startUpstream } from '../lib/upstream-process.mjs'
import { probe, PROXY_FILE, proxyEnv } from '../peers/index.mjs'

export async function start({ quick, rounds, say }) {
  const times = rounds ?? (quick ? 3 : 10)
  say(`start: ${times} times`)
  const upstream = await startUpstream()
  const about = { upstreamPort: upstream.port, ttlSeconds: 30, staleSeconds: 30 }
  const ms = { livez: [], route: [] }
  for (let i = 0; i < times; i++) {
    const [port, adminPort] = [await freePort(), await freePort()]
    const env = {
      ...process.env,
      ...proxyEnv(about, { PORT: String(port), ADMIN_PORT: String(adminPort) }),
    }
    const startedAt = performance.now()
    const child = spawn('taskset', ['-c', SERVER_CORE, process.execPath, PROXY_FILE], {
      env,
      stdio: 'ignore',
    })
    endWithUs(child)
    await Promise.all([
      firstAnswer(`http://127.0.0.1:${adminPort}/livez`).then((at) => ms.livez.push(at - startedAt)),
      firstAnswer(probe(port)).then((at) => ms.route.push(at - startedAt)),
    ])
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  await upstream.stop()
  const rows = [
    ['`/livez`', spread(ms.livez, 0)],
    ['the proxied route, a miss', spread(ms.route, 0)],
  ]
  return [`${times} starts; median (lowest–highest).`, table(['first 200 of', 'ms'], rows)].join('\n\n')
}
