import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { XMLValidator } from 'fast-xml-parser'
import type { WireAnswer } from './ask.ts'
import { ask, pathFor } from './ask.ts'
import { contract, violations } from './contract.ts'
import type { Recipe } from './fuzz.ts'
import { anyQuery, anyRecipe, anyRequest, bodyBy, isValidQuery } from './fuzz.ts'
import { doorFaults } from './problem.ts'
import type { Proxy } from './proxy.ts'
import { startProxy } from './proxy.ts'
import { exchange } from './raw-http.ts'
import { answerStation, ScriptedUpstream } from './scripted-upstream.ts'
import { sendBody } from './scripts.ts'

/** What is fuzzed, and the service that it happens to. */
export interface Target {
  readonly proxy: Proxy
  readonly upstream: ScriptedUpstream
  stop(): Promise<void>
}

export async function startTarget(): Promise<Target> {
  contract()
  const upstream = await ScriptedUpstream.start()
  const proxy = await startProxy(upstream.origin, { CACHE_MAX_ENTRIES: '200', LOG_LEVEL: 'silent' })
  const stop = async () => {
    await upstream.stop()
    await proxy.stop()
  }
  return { proxy, upstream, stop }
}

/** One kind of hostility: random cases, and what must hold for each. */
export interface Hostility {
  readonly arbitrary: fc.Arbitrary<never>
  /** @throws Error naming the promise that is broken */
  readonly check: (input: never, target: Target) => Promise<void>
}

function hostility<T>(
  arbitrary: fc.Arbitrary<T>,
  check: (input: T, target: Target) => Promise<void>,
): Hostility {
  return { arbitrary, check } as unknown as Hostility
}

export const HOSTILITIES: Record<string, Hostility> = {
  queries: hostility(fc.tuple(anyQuery, fc.constantFrom('json', 'xml')), checkQuery),
  requests: hostility(anyRequest, checkRequest),
  bodies: hostility(anyRecipe, checkBody),
}

/** Runs one kind; rejects with the seed and the smallest case that breaks a promise. */
export async function fuzz(
  target: Target,
  name: string,
  { seed, numRuns }: { readonly seed: number; readonly numRuns: number },
): Promise<void> {
  const { arbitrary, check } = HOSTILITIES[name] as Hostility
  await fc.assert(
    fc.asyncProperty(arbitrary, (input) => check(input, target)),
    { seed, numRuns },
  )
}

function must(promise: string, kept: boolean, seen: unknown = ''): void {
  if (!kept) throw new Error(`${promise}: ${String(seen).slice(0, 2_000)}`)
}

/** Past this a target may be too large for the server; below it never is. */
const SURELY_FITS = 15_000

async function checkQuery([query, ext]: [string, string], { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  upstream.calls.length = 0
  const path = pathFor(query, ext)
  const answer = await ask(proxy.url, path)
  mustKeepContract(path, answer)
  const expected = isValidQuery(query) ? 200 : 400
  const fits = answer.status === expected || (answer.status === 431 && path.length > SURELY_FITS)
  must(`a ${expected}`, fits, `${answer.status} ${answer.text}`)
  must('no call for what is not answered', answer.status === 200 || upstream.calls.length === 0)
  must('at most one call', upstream.calls.length <= 1, upstream.calls.length)
}

function mustKeepContract(path: string, { status, headers, text }: WireAnswer): void {
  const faults = violations({ method: 'GET', path, status, headers, body: text })
  must('the documented shape', faults.length === 0, faults.join('; '))
}

/** Long enough for what is answered at once; who waits for the rest of a request is not asked to wait. */
const PATIENCE_MS = 150

async function checkRequest(bytes: string, { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  upstream.calls.length = 0
  const sent = Buffer.from(bytes, 'latin1')
  const { status, headers, body, text } = await exchange(proxy.addresses.public.port, sent, PATIENCE_MS)
  must('alive', (await ask(proxy.url, '/healthz')).status === 200)
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) [A-Z]/g)].map(([, code]) => Number(code))
  must(
    'no 5xx',
    statuses.every((code) => code < 500),
    text,
  )
  const isRefused = statuses.every((code) => code >= 400)
  must('no call for what is refused', !isRefused || upstream.calls.length === 0, text)
  for (const { url, rawHeaders } of upstream.calls) {
    must('the constant path', url.pathname === '/search/2/chargingAvailability.json', url)
    must('nothing of the client', !/evil|script|proxy\.example/i.test(rawHeaders.join()), rawHeaders)
  }
  if (statuses.length === 0 || status < 200) return
  must('the headers of every answer', doorFaults(headers).length === 0, doorFaults(headers).join())
  must('nothing comes back', status < 400 || !/<script>|evil/.test(text), text)
  if (status >= 400 && statuses.length === 1 && body !== '') mustBeProblem(status, headers, body)
}

function mustBeProblem(status: number, headers: Record<string, string>, body: string): void {
  if (headers['content-type']?.startsWith('application/xml')) {
    must('an XML error', /^<ErrorEvResponse>.*<code>\w+<\/code>.*<\/ErrorEvResponse>$/.test(body), body)
    return
  }
  const error = JSON.parse(body) as { httpStatusCode: string; detailedError: { code: string } }
  must('its own status', error.httpStatusCode === String(status), body)
  must('a code', /^\w+$/.test(error.detailedError.code), body)
}

let nextId = 0

/** Good answers keep the circuit closed, whatever comes between them. */
async function checkBody(recipe: Recipe, { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  for (let i = 0; i < 2; i++) {
    const { status } = await ask(proxy.url, pathFor(`chargingAvailability=good-${nextId++}`))
    must('a right answer is served', status === 200, status)
  }
  const id = `f-${nextId++}`
  const sent = bodyBy(recipe, id)
  upstream.script = sendBody(sent)
  const json = await ask(proxy.url, pathFor(`chargingAvailability=${id}`))
  must('an answer or UpstreamFailed', json.status === 200 || json.status === 502, json.text)
  must(
    'what is an answer is served, and nothing else',
    (json.status === 200) === isAnswer(sent, id),
    json.text,
  )
  if (json.status === 200) {
    const same = isDeepStrictEqual(JSON.parse(json.text), JSON.parse(sent.toString('utf8')))
    must('member for member what upstream sent', same, json.text)
  }
  for (const query of ['', '&minPowerKW=30', '&connectorSet=Tesla']) {
    const xml = await ask(proxy.url, pathFor(`chargingAvailability=${id}${query}`, 'xml'))
    must('the same in XML', xml.status === json.status, xml.text)
    must('well-formed', XMLValidator.validate(xml.text) === true, xml.text)
  }
}

/** Whether upstream's bytes are an answer for the id, decided a second time. */
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
  const { constructor: made } = value as { constructor?: unknown }
  const hides = Object.hasOwn(value, 'constructor') && typeof made === 'object' && made !== null
  if (Object.hasOwn(value, '__proto__') || (hides && Object.hasOwn(made, 'prototype'))) return true
  return childrenOf(value).some(hasPrototypeMember)
}
