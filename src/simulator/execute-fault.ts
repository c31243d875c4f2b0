import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { Answer } from './answer.ts'
import { commonHeaders, send } from './answer.ts'
import type { Outcome } from './fault-document.ts'
import { GATEWAY_ANSWERS, answerWithStatus, withRetryAfter } from './gateway.ts'
import type { Call } from './request.ts'

/** One call, its response, and what a fault needs to answer it. */
export interface Exchange {
  readonly call: Call
  readonly response: ServerResponse
  /** The response without a fault, to this call or to a changed copy of it. */
  readonly normalResponse: (call: Call) => Answer
  /** Waits; rejects when the simulator closes. */
  readonly sleep: (ms: number) => Promise<void>
}

const DEFAULT_DRIP_MS = 100
const DEFAULT_BOMB_BYTES = 64 * 2 ** 20
const BOMB_CHUNK_BYTES = 2 ** 16

/** Answers the call with the outcome. For `hang` it returns at once and leaves the call open. */
export async function executeFault(outcome: Outcome, exchange: Exchange): Promise<void> {
  const { call, response, normalResponse } = exchange
  switch (outcome.outcome) {
    case 'status':
      return send(call, response, errorResponse(outcome))
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
      return send(call, response, okResponse('text/html', '<!doctype html><title>Maintenance</title>'))
    case 'wrong-id':
      return send(call, response, normalResponse(forAnotherStation(call)))
    case 'wrong-shape':
      return send(call, response, okResponse('application/json', '{"connectors":"none"}'))
    case 'null':
      return send(call, response, okResponse('application/json', 'null'))
    case 'redirect':
      return send(call, response, { status: 302, headers: { Location: '/moved' }, body: '' })
    case 'gzip-bomb':
      return sendGzipBomb(exchange, outcome.bytes ?? DEFAULT_BOMB_BYTES)
    default:
      return outcome satisfies never
  }
}

function errorResponse({ status, body, retryAfter }: Extract<Outcome, { outcome: 'status' }>): Answer {
  const base = body === undefined ? answerWithStatus(status ?? 500) : GATEWAY_ANSWERS[body]
  const answer = { ...base, status: status ?? base.status }
  return retryAfter === undefined ? answer : withRetryAfter(answer, retryAfter)
}

function okResponse(type: string, body: string): Answer {
  return { status: 200, headers: { 'Content-Type': type }, body }
}

function forAnotherStation(call: Call): Call {
  const parameters = new URLSearchParams(call.parameters)
  parameters.set('chargingAvailability', 'another-station')
  return { ...call, parameters }
}

/** Announces the whole body in Content-Length and sends half of it. */
function truncate(exchange: Exchange): void {
  const body = sendHead(exchange)
  exchange.response.write(body.subarray(0, body.length / 2), () => exchange.response.socket?.destroy())
}

async function drip(exchange: Exchange, everyMs: number): Promise<void> {
  const { response, sleep } = exchange
  for (const byte of sendHead(exchange)) {
    if (response.destroyed) return
    response.write(Buffer.of(byte))
    await sleep(everyMs)
  }
  response.end()
}

/** Sends the head of the normal response, uncompressed; returns the body for its Content-Length. */
function sendHead({ call, response, normalResponse }: Exchange): Buffer {
  const { status, headers, body } = normalResponse(call)
  const bytes = Buffer.from(body)
  response.writeHead(status, { ...commonHeaders(call), ...headers, 'Content-Length': bytes.length })
  return bytes
}

/** The normal body after `bytes` of white space: valid JSON, small on the wire, large once decompressed. */
async function sendGzipBomb({ call, response, normalResponse }: Exchange, bytes: number): Promise<void> {
  const { status, headers, body } = normalResponse(call)
  response.writeHead(status, { ...commonHeaders(call), ...headers, 'Content-Encoding': 'gzip' })
  await pipeline(Readable.from(padded(body, bytes)), createGzip(), response)
}

function* padded(body: string, bytes: number): Generator<Buffer> {
  const space = Buffer.alloc(BOMB_CHUNK_BYTES, ' ')
  for (let left = bytes; left > 0; left -= space.length) yield space.subarray(0, left)
  yield Buffer.from(body)
}
