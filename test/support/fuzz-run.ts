import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { XMLValidator } from 'fast-xml-parser'
import type { WireResponse } from './request.ts'
import { request, pathFor } from './request.ts'
import { contract, violations } from './contract.ts'
import type { Recipe } from './fuzz.ts'
import { anyQuery, anyRecipe, anyRequest, bodyBy, isValidQuery } from './fuzz.ts'
import { anyBatch, anyEventsQuery, checkBatch, checkEventsQuery } from './fuzz-lists.ts'
import {
  anyExplosion,
  anyLogging,
  anyLongHead,
  anyPackets,
  checkExplosion,
  checkLogging,
  checkLongHead,
  checkPackets,
} from './fuzz-strangers.ts'
import { answerByName, anyVisits, checkVisits, KEYS, MAX_IN_FLIGHT } from './fuzz-breaking.ts'
import { anyDays, checkDays } from './fuzz-clocks.ts'
import { anyOutages, checkOutages } from './fuzz-outages.ts'
import { anyPauses, checkPauses } from './fuzz-pauses.ts'
import { anyReply, checkReply, startLyingRedis } from './fuzz-redis.ts'
import { commonHeaderProblems } from './error-response.ts'
import type { FuzzedService, Target } from './fuzz-target.ts'
import { ensure, portOf } from './fuzz-target.ts'
import { startProxy } from './proxy.ts'
import { sendBytes } from './raw-http.ts'
import { answerStation, ScriptedUpstream } from './scripted-upstream.ts'
import { sendBody } from './scripts.ts'

/** Starts the service with these settings in front of that upstream. */
export type StartService = (origin: string, env: Record<string, string>) => Promise<FuzzedService>

/** In this process, whose heap upstream, the clients and the checks share. */
export const startHere: StartService = async (origin, env) => {
  const small = { CACHE_MAX_BYTES: '8MB', LOG_LEVEL: 'silent' }
  const proxy = await startProxy(origin, { ...small, ...env })
  const { url, adminUrl } = proxy
  return { url, adminUrl, stop: () => proxy.stop(), cpuMs: () => process.cpuUsage().user / 1_000 }
}

export async function startTarget(start: StartService = startHere): Promise<Target> {
  contract()
  const upstream = await ScriptedUpstream.start(answerStation)
  const few = { CACHE_MAX_ENTRIES: '200' }
  // Without refreshes, each call that arrives is of the request that is checked.
  const proxy = await start(upstream.origin, { ...few, CACHE_TTL: '1h' })
  const redis = await startLyingRedis()
  const second = await ScriptedUpstream.start(answerStation)
  const lyingProxy = await start(second.origin, {
    ...few,
    REDIS_URL: redis.url,
    UPSTREAM_QUOTA: '1000000/day',
    UPSTREAM_TIMEOUT: '300ms', // how long a request waits for a peer that there is not
    UPSTREAM_SOFT_TIMEOUT: '200ms',
    UPSTREAM_QUEUE_TIMEOUT: '200ms',
  })
  const breaking = await startBreaking(start)
  const services = [proxy, lyingProxy, ...breaking.services]
  const stop = async () => {
    for (const one of [upstream, second, breaking.upstream]) await one.stop()
    for (const service of services) await service.stop()
    await redis.stop()
  }
  return { proxy, upstream, lying: { redis, proxy: lyingProxy }, breaking, services, stop }
}

async function startBreaking(start: StartService): Promise<Target['breaking']> {
  const upstream = await ScriptedUpstream.start(answerByName)
  const settings = {
    ACCESS_LOG: 'false',
    CACHE_TTL: '1s',
    CACHE_MAX_ENTRIES: '200',
    UPSTREAM_TIMEOUT: '400ms',
    UPSTREAM_SOFT_TIMEOUT: '100ms',
    UPSTREAM_QUEUE_TIMEOUT: '200ms',
  }
  const limits = {
    CLIENT_KEYS: KEYS.map(({ name, key }) => `${name}=${key}`).join(),
    CLIENT_MAX_IN_FLIGHT: String(MAX_IN_FLIGHT),
    CLIENT_RATE_LIMIT: '500',
    EVENTS_MAX_STREAMS: '30',
    UPSTREAM_MAX_QPS: '100',
  }
  const services = [
    await start(upstream.origin, settings),
    await start(upstream.origin, { ...settings, ...limits }),
  ]
  return { services, upstream }
}

export type { Target } from './fuzz-target.ts'

/** One kind of hostile input: random cases, and the check of each. */
export interface Fuzzer {
  readonly arbitrary: fc.Arbitrary<never>
  /** @throws Error naming the condition that does not hold */
  readonly check: (input: never, target: Target) => Promise<void>
}

function fuzzer<T>(arbitrary: fc.Arbitrary<T>, check: (input: T, target: Target) => Promise<void>): Fuzzer {
  return { arbitrary, check } as unknown as Fuzzer
}

export const FUZZERS: Record<string, Fuzzer> = {
  queries: fuzzer(fc.tuple(anyQuery, fc.constantFrom('json', 'xml')), checkQuery),
  requests: fuzzer(anyRequest, checkRequest),
  bodies: fuzzer(anyRecipe, checkBody),
  batches: fuzzer(anyBatch, checkBatch),
  'queries of event streams': fuzzer(anyEventsQuery, checkEventsQuery),
  'connections that break': fuzzer(anyVisits, checkVisits),
  packets: fuzzer(anyPackets, checkPackets),
  'long heads': fuzzer(anyLongHead, checkLongHead),
  'exploding bodies': fuzzer(anyExplosion, checkExplosion),
  'log destinations': fuzzer(anyLogging, checkLogging),
  'a Redis that lies': fuzzer(anyReply, checkReply),
  'clocks that jump': fuzzer(anyDays, async (days) => checkDays(days)),
  pauses: fuzzer(anyPauses, checkPauses),
  'outages of a shared store': fuzzer(anyOutages, checkOutages),
}

/** Runs one kind; rejects with its name, the seed and the smallest failing case. */
export async function fuzz(
  target: Target,
  name: string,
  { seed, numRuns }: { readonly seed: number; readonly numRuns: number },
): Promise<void> {
  const { arbitrary, check } = FUZZERS[name] as Fuzzer
  const property = fc.asyncProperty(arbitrary, (input) => check(input, target))
  try {
    await fc.assert(property, { seed, numRuns })
  } catch (error) {
    throw new Error(name, { cause: error })
  }
}

/** Longer targets may be too large for the server; shorter ones never are. */
const ALWAYS_FITS = 15_000

async function checkQuery([query, ext]: [string, string], { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  upstream.calls.length = 0
  const path = pathFor(query, ext)
  const answer = await request(proxy.url, path)
  ensureContract(path, answer)
  const expected = isValidQuery(query) ? 200 : 400
  const fits = answer.status === expected || (answer.status === 431 && path.length > ALWAYS_FITS)
  ensure(`a ${expected}`, fits, `${answer.status} ${answer.text}`)
  ensure('no call for an error', answer.status === 200 || upstream.calls.length === 0)
  ensure('at most one call', upstream.calls.length <= 1, upstream.calls.length)
}

function ensureContract(path: string, { status, headers, text }: WireResponse): void {
  const problems = violations({ method: 'GET', path, status, headers, body: text })
  ensure('the documented shape', problems.length === 0, problems.join('; '))
}

/** Enough for a complete request; for an incomplete one the server would wait longer. */
const READ_TIMEOUT_MS = 150

async function checkRequest(bytes: string, { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  upstream.calls.length = 0
  const sent = Buffer.from(bytes, 'latin1')
  const { status, headers, body, text } = await sendBytes(portOf(proxy), sent, READ_TIMEOUT_MS)
  ensure('the service is alive', (await request(proxy.url, '/healthz')).status === 200)
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) [A-Z]/g)].map(([, code]) => Number(code))
  ensure(
    'no 5xx',
    statuses.every((code) => code < 500),
    text,
  )
  const isRejected = statuses.every((code) => code >= 400)
  ensure('no call for an error', !isRejected || upstream.calls.length === 0, text)
  for (const { url, rawHeaders } of upstream.calls) {
    ensure('the constant path', url.pathname === '/search/2/chargingAvailability.json', url)
    ensure('no header of the client', !/evil|script|proxy\.example/i.test(rawHeaders.join()), rawHeaders)
  }
  if (statuses.length === 0 || status < 200) return
  ensure(
    'the common headers',
    commonHeaderProblems(headers).length === 0,
    commonHeaderProblems(headers).join(),
  )
  ensure('no input in an error', status < 400 || !/<script>|evil/.test(text), text)
  if (status >= 400 && statuses.length === 1 && body !== '') ensureErrorResponse(status, headers, body)
}

function ensureErrorResponse(status: number, headers: Record<string, string>, body: string): void {
  if (headers['content-type']?.startsWith('application/xml')) {
    ensure('an XML error', /^<ErrorEvResponse>.*<code>\w+<\/code>.*<\/ErrorEvResponse>$/.test(body), body)
    return
  }
  const error = JSON.parse(body) as { httpStatusCode: string; detailedError: { code: string } }
  ensure('its own status', error.httpStatusCode === String(status), body)
  ensure('a code', /^\w+$/.test(error.detailedError.code), body)
}

let nextId = 0

/** Valid answers in between keep the circuit closed. */
async function checkBody(recipe: Recipe, { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  for (let i = 0; i < 2; i++) {
    const { status } = await request(proxy.url, pathFor(`chargingAvailability=good-${nextId++}`))
    ensure('a valid answer is served', status === 200, status)
  }
  const id = `f-${nextId++}`
  const sent = bodyBy(recipe, id)
  upstream.script = sendBody(sent)
  const json = await request(proxy.url, pathFor(`chargingAvailability=${id}`))
  ensure('an answer or UpstreamFailed', json.status === 200 || json.status === 502, json.text)
  ensure('valid answers are served, and no others', (json.status === 200) === isAnswer(sent, id), json.text)
  if (json.status === 200) {
    const same = isDeepStrictEqual(JSON.parse(json.text), JSON.parse(sent.toString('utf8')))
    ensure('the JSON equals that of upstream', same, json.text)
  }
  for (const query of ['', '&minPowerKW=30', '&connectorSet=Tesla']) {
    const xml = await request(proxy.url, pathFor(`chargingAvailability=${id}${query}`, 'xml'))
    ensure('the same status in XML', xml.status === json.status, xml.text)
    ensure('well-formed', XMLValidator.validate(xml.text) === true, xml.text)
  }
}

/** Whether a body is a valid answer for the id: an oracle for decode. */
function isAnswer(bytes: Buffer, id: string): boolean {
  const isRecord = (it: unknown): it is Record<string, unknown> =>
    typeof it === 'object' && it !== null && !Array.isArray(it)
  try {
    const body: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (!isRecord(body) || body['chargingAvailability'] !== id || !Array.isArray(body['connectors']))
      return false
    const connectors = body['connectors'] as unknown[]
    const fit = connectors.every(
      (it) => isRecord(it) && typeof it['type'] === 'string' && isRecord(it['availability']),
    )
    return fit && depthOf(body) <= 32 && !hasPrototypeMember(body)
  } catch {
    return false
  }
}

function childrenOf(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value) : []
}

function depthOf(value: unknown): number {
  let level = [value]
  let depth = 0
  for (; level.some((it) => typeof it === 'object' && it !== null); depth++) level = level.flatMap(childrenOf)
  return depth
}

function hasPrototypeMember(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { constructor: member } = value as { constructor?: unknown }
  const hides = Object.hasOwn(value, 'constructor') && typeof member === 'object' && member !== null
  if (Object.hasOwn(value, '__proto__') || (hides && Object.hasOwn(member, 'prototype'))) return true
  return childrenOf(value).some(hasPrototypeMember)
}
