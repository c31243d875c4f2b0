import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { Answer } from './answer.ts'
import { commonHeaders, send } from './answer.ts'
import type { Outcome } from './fault-document.ts'
import { GATEWAY_ANSWERS, answerWithStatus, withRetryAfter } from './gateway.ts'
import type { Call } from './request.ts'

/** One call on the wire, and what is needed to answer it badly. */
export interface Exchange {
  readonly call: Call
  readonly response: ServerResponse
  /** What would have been answered to this call, or to one like it. */
  readonly honest: (call: Call) => Answer
  /** Waits so many ms; rejects when the simulator closes. */
  readonly sleep: (ms: number) => Promise<void>
}

const DEFAULT_DRIP_MS = 100
const DEFAULT_BOMB_BYTES = 64 * 2 ** 20
const BOMB_CHUNK_BYTES = 2 ** 16

/** Carries an outcome out. Returns when it is done; for `hang` that is at once, with the call still open. */
export async function misbehave(outcome: Outcome, exchange: Exchange): Promise<void> {
  const { call, response, honest } = exchange
  switch (outcome.outcome) {
    case 'status':
      return send(call, response, failure(outcome))
    case 'hang':
      return
    case 'reset':
      response.socket?.resetAndDestroy()
      return
    case 'truncate':
      return truncate(exchange)
    case 'drip':
      return drip(exchange, outcome.everyMs ?? DEFAULT_DRIP_MS)
    case 'html':
      return send(call, response, page('text/html', '<!doctype html><title>Maintenance</title>'))
    case 'wrong-id':
      return send(call, response, honest(aboutAnotherStation(call)))
    case 'wrong-shape':
      return send(call, response, page('application/json', '{"connectors":"none"}'))
    case 'null':
      return send(call, response, page('application/json', 'null'))
    case 'redirect':
      return send(call, response, { status: 302, headers: { Location: '/moved' }, body: '' })
    case 'gzip-bomb':
      return bomb(exchange, outcome.bytes ?? DEFAULT_BOMB_BYTES)
    default:
      return outcome satisfies never
  }
}

function failure({ status, body, retryAfter }: Extract<Outcome, { outcome: 'status' }>): Answer {
  const said = body === undefined ? answerWithStatus(status ?? 500) : GATEWAY_ANSWERS[body]
  const answer = { ...said, status: status ?? said.status }
  return retryAfter === undefined ? answer : withRetryAfter(answer, retryAfter)
}

function page(type: string, body: string): Answer {
  return { status: 200, headers: { 'Content-Type': type }, body }
}

function aboutAnotherStation(call: Call): Call {
  const parameters = new URLSearchParams(call.parameters)
  parameters.set('chargingAvailability', 'another-station')
  return { ...call, parameters }
}

/** Promises the whole body and sends half of it. */
function truncate(exchange: Exchange): void {
  const body = begin(exchange)
  exchange.response.write(body.subarray(0, body.length / 2), () => exchange.response.socket?.destroy())
}

async function drip(exchange: Exchange, everyMs: number): Promise<void> {
  const { response, sleep } = exchange
  for (const byte of begin(exchange)) {
    if (response.destroyed) return
    response.write(Buffer.of(byte))
    await sleep(everyMs)
  }
  response.end()
}

/** Sends the head of the honest answer, uncompressed; returns the body that it promises. */
function begin({ call, response, honest }: Exchange): Buffer {
  const { status, headers, body } = honest(call)
  const bytes = Buffer.from(body)
  response.writeHead(status, { ...commonHeaders(call), ...headers, 'Content-Length': bytes.length })
  return bytes
}

/** The honest body behind so much white space that whoever inflates all of it will notice. */
async function bomb({ call, response, honest }: Exchange, bytes: number): Promise<void> {
  const { status, headers, body } = honest(call)
  response.writeHead(status, { ...commonHeaders(call), ...headers, 'Content-Encoding': 'gzip' })
  await pipeline(Readable.from(padded(body, bytes)), createGzip(), response)
}

function* padded(body: string, bytes: number): Generator<Buffer> {
  const space = Buffer.alloc(BOMB_CHUNK_BYTES, ' ')
  for (let left = bytes; left > 0; left -= space.length) yield space.subarray(0, left)
  yield Buffer.from(body)
}
