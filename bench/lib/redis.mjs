/** A redis-server for benchmarks, and stores that use it. */
import { spawn } from 'node:child_process'
import { redisUrl } from '../../dist/config/redis-url.js'
import { systemClock } from '../../dist/lib/clock.js'
import { openRedisStores } from '../../dist/redis/stores.js'
import { freePort } from './process.mjs'

/** `onOutage` is called when Redis cannot be reached. */
export async function open(url, onOutage = () => {}) {
  const observer = {
    sharedCacheChanged(up, reason) {
      if (up) return
      console.error(`Redis cannot be reached: ${reason}`)
      onOutage()
    },
    sharedCommandRejected: (reason) => console.error(`Redis: ${reason}`),
  }
  return openRedisStores(redisUrl.parse(url), { clock: systemClock, observer, hasQuota: false })
}

/** `commands()`: how many the server has processed, those of scripts among them. */
export async function startRedis() {
  const { Redis } = await import('ioredis')
  const port = await freePort()
  const child = spawn('redis-server', ['--port', port, '--save', '', '--bind', '127.0.0.1'], {
    stdio: 'ignore',
  })
  const client = new Redis(port, { retryStrategy: () => 100 })
  client.on('error', () => {})
  // Not events.once: it would reject at the first attempt, which may come before the server listens.
  await new Promise((resolve) => {
    client.once('ready', resolve)
  })
  const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))[1])
  const stop = () => (client.disconnect(), child.kill())
  return { url: `redis://127.0.0.1:${port}`, command: (...words) => client.call(...words), commands, stop }
}
