import type { AddressInfo, Server } from 'node:net'
import { connect, createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Test } from 'tap'
import t from 'tap'
import type { RedisConfig } from '../../src/config/redis-url.ts'
import { redisUrl } from '../../src/config/redis-url.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { Commands } from '../../src/redis/commands.ts'
import { selfSigned } from '../support/self-signed.ts'
import { until } from '../support/until.ts'

/*
 * TLS connections to Redis that break in the middle. Such a connection has two errors, one for what cannot be decrypted
 * and one when it closes; without a listener the second ended the process.
 */

const { key, cert } = selfSigned()
const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`
const GARBAGE = Buffer.from('no TLS record '.repeat(20))
/** A fatal alert (handshake_failure) that is not encrypted. */
const ALERT = Buffer.from([0x15, 3, 3, 0, 2, 2, 40])
/** An encrypted record that nobody has encrypted. */
const RECORD = Buffer.from(`\x17\x03\x03\x00\x20${'r'.repeat(32)}`, 'latin1')
const ENDS = [[GARBAGE, GARBAGE], [ALERT, ALERT], [RECORD]]
/** Enough for the handshakes of TLS and of ioredis. */
const CLIENTS = 2 * ENDS.length
const observer = { sharedCacheChanged: () => {}, sharedCommandRejected: () => {} }
const BREAK_AFTER_MS = 60

async function listen(t: Test, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** A server that is Redis, a sentinel and a cluster of one node, behind connections that break, each in another way. */
async function startBreakingRedis(t: Test) {
  const front = { opened: 0, broken: 0, port: 0 }
  const replies: Record<string, () => string> = {
    sentinel: () => `*2\r\n${bulk('localhost')}${bulk(String(front.port))}`,
    cluster: () => `*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n${bulk('localhost')}:${front.port}\r\n`,
  }
  const redis = createTlsServer({ key, cert }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      for (const command of bytes
        .toString('latin1')
        .split(/^\*\d+\r\n/m)
        .slice(1))
        socket.write(replies[String(command.split('\r\n')[1]).toLowerCase()]?.() ?? '+OK\r\n')
    })
  })
  const port = await listen(t, redis)
  const server = createServer((socket) => {
    const end = ENDS[front.opened++ % ENDS.length] ?? []
    const inner = connect(port, '127.0.0.1').on('error', () => {})
    socket.on('error', () => {}).on('close', () => inner.destroy())
    socket.pipe(inner)
    inner.on('close', () => socket.destroy()).on('data', (bytes) => socket.write(bytes))
    setTimeout(() => {
      for (const bytes of end) socket.write(bytes)
      setTimeout(() => {
        socket.resetAndDestroy()
        front.broken++
      }, BREAK_AFTER_MS)
    }, BREAK_AFTER_MS)
  })
  front.port = await listen(t, server)
  return front
}

// The certificate is this test's own, and what authorities are trusted is decided when a process starts.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'

const URLS = {
  'one server': (port: number) => `rediss://localhost:${port}`,
  'a sentinel': (port: number) => `rediss+sentinel://localhost:${port}/primary`,
  'a cluster': (port: number) => `rediss+cluster://localhost:${port}`,
}

for (const [name, urlOf] of Object.entries(URLS)) {
  await t.test(`no error is without a listener when TLS connections to ${name} break`, async (t) => {
    const uncaught: unknown[] = []
    const note = (error: unknown) => void uncaught.push(error)
    process.on('uncaughtException', note)
    const redis = await startBreakingRedis(t)
    const config = redisUrl.parse(urlOf(redis.port)) as RedisConfig
    const all = Array.from({ length: CLIENTS }, () => Commands.open(config, { clock: systemClock, observer }))
    t.teardown(async () => {
      for (const commands of await Promise.all(all)) commands.close()
      process.off('uncaughtException', note)
    })
    await until('each kind of end was seen', async () => {
      for (const commands of await Promise.all(all)) void commands.command('GET', 'a')
      return redis.broken >= CLIENTS
    })
    t.strictSame(uncaught, [])
  })
}
