import type { PowerFilter } from '../availability/filter.ts'
import type { AssumptionId, Findings } from './assumptions.ts'
import { ASSUMPTIONS, inconclusive } from './assumptions.ts'
import { CONNECTOR_SET_CHECKS } from './check-connector-set.ts'
import { checkHeaders, checkNumbers, checkSums, checkXml } from './check-formats.ts'
import { checkPower } from './check-power.ts'
import {
  checkEchoed,
  checkReplaced,
  checkUnknownId,
  MALFORMED_TRACKING_ID,
  STATUS_CHECKS,
  VALID_TRACKING_ID,
} from './check-single.ts'
import type { Stopped, UpstreamClient } from './client.ts'
import { RunEnded } from './client.ts'
import { Stations } from './stations.ts'

export interface RunOptions {
  readonly stations: readonly string[]
  readonly maxCalls: number
  readonly powerFilter: PowerFilter
}

export interface Result {
  /** What is missing was not tried. */
  readonly findings: Findings
  /** Settings that make the proxy do as upstream does. */
  readonly advice: readonly string[]
  readonly calls: number
  readonly stopped: Stopped | null
  /** Why it could not be run at all, else null. */
  readonly failure: string | null
}

/** The part of the budget for the first answers of the stations. */
const SHARE_OF_FIRST_ANSWERS = 0.25
/** Pages of other origins need the header that `cors` is about. */
const HEADERS_OF_FIRST_CALL = { 'tracking-id': VALID_TRACKING_ID, origin: 'https://verify.example' }

/** Examines every assumption, as far as the budget of calls and upstream allow. */
export async function verify(client: UpstreamClient, options: RunOptions): Promise<Result> {
  const stations = new Stations(client)
  const findings: Findings = {}
  let failure: string | null = null
  try {
    failure = await firstAnswers(stations, options, findings)
    if (failure === null) await remainingCalls(client, stations, { options, findings })
  } catch (error) {
    if (!(error instanceof RunEnded)) throw error
    if (client.calls === 1 && client.stopped !== null)
      failure = `the first call failed: ${client.stopped.reason}`
  }
  if (failure === null && stations.lastReply !== null) {
    Object.assign(findings, checkSums(stations), checkNumbers(stations), checkHeaders(stations))
  }
  withdrawUnsteady(findings, stations)
  return { findings, advice: adviceFor(findings), calls: client.calls, stopped: client.stopped, failure }
}

/** Asks for the full answer of each station. Returns why nothing can be found out, else null. */
async function firstAnswers(
  stations: Stations,
  options: RunOptions,
  findings: Findings,
): Promise<string | null> {
  const [first, ...others] = options.stations as [string, ...string[]]
  const full = await stations.full(first, { headers: HEADERS_OF_FIRST_CALL })
  const { status = null, problem = null } = stations.lastReply ?? {}
  if (status === null) return `nobody answers: ${problem}`
  if (status >= 300 && status < 400) return `upstream redirects (status ${status}): check TOMTOM_BASE_URL`
  Object.assign(findings, checkEchoed(full))
  const affordable = Math.floor(options.maxCalls * SHARE_OF_FIRST_ANSWERS)
  for (const id of others.slice(0, affordable)) await stations.full(id)
  const { status: last = null, problem: reason = null } = stations.lastReply ?? {}
  return stations.fulls.length > 0 ? null : `no station has an answer: ${reason ?? `status ${last}`}`
}

interface Run {
  readonly options: RunOptions
  readonly findings: Findings
}

async function remainingCalls(
  client: UpstreamClient,
  stations: Stations,
  { options, findings }: Run,
): Promise<void> {
  const found = (more: Findings) => void Object.assign(findings, more)
  const [first] = options.stations as [string]
  await stations.full(first, {
    label: 'tracking-id-replaced',
    headers: { 'tracking-id': MALFORMED_TRACKING_ID },
  })
  found(checkReplaced(stations.lastReply))
  for (const finding of await checkPower(stations, options.powerFilter)) found(finding)
  for (const check of CONNECTOR_SET_CHECKS) found(await check(stations))
  found(await checkXml(stations))
  found(await checkUnknownId(client))
  for (const check of STATUS_CHECKS) found(await check(client, first))
}

/**
 * While upstream serves two versions of its data, a comparison contradicts nothing: its answers may be of both, though the
 * full ones happened to be equal.
 */
function withdrawUnsteady(findings: Findings, { unsteady, compared }: Stations): void {
  const [station] = unsteady
  if (station === undefined) return
  const seen = `the connectors of ${station} changed meanwhile: upstream serves two versions of its data; try again later`
  for (const id of Object.keys(ASSUMPTIONS) as AssumptionId[]) {
    const isCompared = compared.has(id === 'connector-set-untouched' ? 'connector-set-drops' : id)
    if (!isCompared || findings[id]?.verdict !== 'contradicted') continue
    findings[id] = { ...inconclusive(seen), ...(id === 'power-filter' && { reading: null }) }
  }
}

function adviceFor({ 'power-filter': finding }: Findings): string[] {
  if (finding?.verdict !== 'contradicted') return []
  const { reading } = finding
  return reading === undefined || reading === null || reading === 'none' ? [] : [`POWER_FILTER=${reading}`]
}
