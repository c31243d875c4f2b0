import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import * as fc from 'fast-check'
import type { Target } from './fuzz-target.ts'
import { ensure } from './fuzz-target.ts'
import { pathFor, request } from './request.ts'

/* A server that speaks Redis' protocol and returns what no script of this service can have returned. */

export interface LyingRedis {
  readonly url: string
  /** What every script and every reading command returns. */
  reply: string
  /** The number of commands so far. */
  readonly commands: number
  readonly stop: () => Promise<void>
}

const LIED_TO = new Set(['evalsha', 'eval', 'get', 'pttl'])

export async function startLyingRedis(): Promise<LyingRedis> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    // One command for each array; arguments are never arrays.
    socket.on('data', (bytes) => {
      const commands = bytes.toString('latin1').split(/^\*\d+\r\n/m)
      for (const command of commands.slice(1)) {
        state.commands++
        const name = String(command.split('\r\n')[1]).toLowerCase()
        socket.write(LIED_TO.has(name) ? state.reply : '+OK\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const state = {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reply: '$-1\r\n',
    commands: 0,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return state
}

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const number = fc.oneof(
  fc.constantFrom('0', '1', '-1', '1e300', '-1e300', 'NaN', 'Infinity', '9007199254740993', '', ' ', '0x10'),
  fc.integer({ min: -1_000, max: 100_000_000 }).map(String),
)
const anyText = fc.oneof(
  { weight: 3, arbitrary: number },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'lease',
      'answer',
      'taken',
      'leased-by-peer',
      '!NotFound',
      '!Forbidden',
      '!',
      'p',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 8 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(number, number, number)
      .map(([a, b, c]) => `${a} ${b} ${c} v {"chargingAvailability":"r","connectors":[]}`),
  },
)
const scalar = fc.oneof(
  anyText.map(bulk),
  anyText.map(bulk),
  fc.integer().map((value) => `:${value}\r\n`),
  fc.constantFrom('$-1\r\n', '*0\r\n', '+OK\r\n'),
)

/** A reply in Redis' protocol. */
export const anyReply: fc.Arbitrary<string> = fc.oneof(
  { weight: 2, arbitrary: scalar },
  {
    weight: 6,
    arbitrary: fc.array(scalar, { maxLength: 12 }).map((items) => `*${items.length}\r\n${items.join('')}`),
  },
  { weight: 1, arbitrary: fc.constantFrom('-ERR wrong arguments\r\n', '-NOSCRIPT No matching script\r\n') },
)

/** What a request may be answered with: an answer, or that no call could be made now. */
const STATUSES = new Set([200, 404, 429, 503, 504])
const MAX_MS = 4_000
const MAX_COMMANDS = 1_000

let nextId = 0

export async function checkReply(reply: string, { lying }: Target): Promise<void> {
  lying.redis.reply = reply
  const before = lying.redis.commands
  const startedAt = performance.now()
  const answers = await Promise.all(
    Array.from({ length: 3 }, () => request(lying.proxy.url, pathFor(`chargingAvailability=r-${nextId++}`))),
  )
  const ms = performance.now() - startedAt
  const statuses = answers.map(({ status }) => status)
  ensure(
    'an answer or no call',
    statuses.every((status) => STATUSES.has(status)),
    statuses,
  )
  ensure('no stall', ms < MAX_MS, `${ms} ms`)
  ensure('no loop', lying.redis.commands - before < MAX_COMMANDS, lying.redis.commands - before)
  const { text } = await request(lying.proxy.adminUrl, '/metrics')
  const remaining = /^evproxy_quota_remaining (.+)$/m.exec(text)?.[1]
  ensure('the quota is a number', Number(remaining) >= 0, remaining)
}
