import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { readExposition } from '../support/exposition.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { keepAlive } from './replicas.ts'

/* A server that speaks Redis' protocol and returns what no script of this service can have returned. */

keepAlive(t)

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const list = (...items: string[]) => `*${items.length}\r\n${items.join('')}`
const int = (value: number) => `:${value}\r\n`

const HOUR_MS = 3_600_000
const STATION = '{"chargingAvailability":"a","connectors":[]}'
const quotaReply = (...values: string[]) => list(...values.map(bulk))

/** Replies to every script and to GET, by the kind of lie. */
const LIES: Readonly<Record<string, string>> = {
  nothing: '$-1\r\n',
  'an empty list': list(),
  'a text': bulk('lie'),
  NaN: bulk('NaN'),
  'a wait of an hour': bulk(String(HOUR_MS)),
  'a wait without end': bulk('1e300'),
  'a negative number': int(-1),
  'a lease of nobody': list(bulk('lease')),
  'an error that no replica had': list(bulk('taken'), bulk('!Forbidden'), int(HOUR_MS)),
  'an error without end': list(bulk('taken'), bulk('!NotFound'), int(1e15)),
  'another answer each time': list(bulk('answer'), bulk(`1 1 1000 v ${STATION}`), int(0)),
  'an answer of the future': list(bulk('answer'), bulk(`999999999999999 1 1000 v ${STATION}`), int(0)),
  'a quota that is spent for ever': quotaReply('1e18', '0', '1e18', '1e18', '0', '0', '9e18', '1', 'p', 'a'),
  'a quota of NaN': quotaReply('0', '0', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'p', 'a'),
  'a hold without end': quotaReply('86400000', '86400000', '0', '0', '0', '0', '86400000', '0', 'p', 'a'),
  'an error': '-ERR wrong arguments\r\n',
}

async function liar(t: Test, lie: string) {
  const state = { commands: 0 }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      // One command for each array; arguments are never arrays.
      for (const command of bytes
        .toString('latin1')
        .split(/^\*\d+\r\n/m)
        .slice(1)) {
        const name = command.split('\r\n')[1]?.toLowerCase()
        state.commands++
        socket.write(['evalsha', 'eval', 'get', 'pttl'].includes(String(name)) ? lie : '+OK\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { state, url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

for (const [name, lie] of Object.entries(LIES)) {
  await t.test(`a Redis that replies with ${name} harms no request`, async (t) => {
    const { state, url } = await liar(t, lie)
    const { get, proxy, requestAdmin } = await startService(t, {
      env: { REDIS_URL: url, UPSTREAM_QUOTA: '400/day', UPSTREAM_MAX_QPS: '50', UPSTREAM_TIMEOUT: '2s' },
    })
    await until('Redis is used', () => state.commands > 2)
    const found: number[] = []
    const startedAt = performance.now()
    for (let i = 0; i < 5; i++) found.push((await get(`chargingAvailability=s${i}`)).status)
    const ms = performance.now() - startedAt
    const isHold = name.startsWith('a hold')
    t.notOk(found.includes(403), found.join())
    t.notOk(found.includes(500), found.join())
    t.ok(ms < (isHold ? 20_000 : 4_000), `${ms} ms`)
    t.ok(state.commands < 3_000, `${state.commands} commands`)
    const metrics = readExposition((await requestAdmin('/metrics')).text)
    t.ok(Number(metrics.value('evproxy_quota_remaining')) >= 0)
    t.ok(Number.isFinite(metrics.value('evproxy_quota_reset_timestamp_seconds')))
    t.equal(proxy.logs.filter(({ level }) => level === 'fatal').length, 0)
    if (name === 'an error') t.equal(metrics.value('evproxy_shared_cache_up'), 1)
  })
}
