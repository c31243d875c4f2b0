import type { Deviation } from './deviations.ts'
import { DEVIATIONS } from './deviations.ts'
import { GATEWAY_ANSWERS } from './gateway.ts'
import type { GatewayAnswer } from './gateway.ts'

/**
 * What replaces the normal response:
 * - `status`: an error of the gateway; the status, the name of a body, or both
 * - `hang`: the call gets no response
 * - `reset`: the connection is reset before the response
 * - `truncate`: the connection closes in the middle of the body
 * - `drip`: the normal response, one byte every `everyMs` (default 100)
 * - `html`: a 200 with a web page
 * - `wrong-id`: the response for another station
 * - `wrong-shape`: a 200 with JSON that is not a station
 * - `null`: a 200 with the JSON `null`
 * - `redirect`: a 302 to another path of the simulator
 * - `gzip-bomb`: a small body that decompresses to `bytes` (default 64 MiB) of valid JSON
 */
export type Outcome =
  | {
      readonly outcome: 'status'
      readonly status?: number
      readonly body?: GatewayAnswer
      readonly retryAfter?: number | string
    }
  | { readonly outcome: 'drip'; readonly everyMs?: number }
  | { readonly outcome: 'gzip-bomb'; readonly bytes?: number }
  | {
      readonly outcome:
        | 'hang'
        | 'reset'
        | 'truncate'
        | 'html'
        | 'wrong-id'
        | 'wrong-shape'
        | 'null'
        | 'redirect'
    }

/**
 * An outcome or a deviation of the normal response, a delay before it, or both. Without `probability` it applies to every call, without `times` to
 * any number of them.
 */
export type Fault = (
  | Outcome
  | { readonly outcome?: never; readonly latencyMs: number }
  | { readonly outcome?: never; readonly deviation: Deviation }
) & {
  readonly latencyMs?: number
  readonly deviation?: Deviation
  /** From 0 to 1. */
  readonly probability?: number
  /** The number of calls after which it ends. */
  readonly times?: number
}

/** An invalid fault document; the message lists every problem. */
export class FaultDocumentError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`The fault document is not valid: ${problems.join('; ')}`)
    this.name = 'FaultDocumentError'
    this.problems = problems
  }
}

interface Member {
  readonly expected: string
  readonly accepts: (value: unknown) => boolean
  /** The only outcome that has this member; absent if every fault may have it. */
  readonly of?: Outcome['outcome']
}

const OUTCOMES: readonly Outcome['outcome'][] = [
  'status',
  'hang',
  'reset',
  'truncate',
  'drip',
  'html',
  'wrong-id',
  'wrong-shape',
  'null',
  'redirect',
  'gzip-bomb',
]

const MEMBERS: Readonly<Record<string, Member>> = {
  outcome: oneOf(OUTCOMES),
  latencyMs: number(0, 3_600_000),
  deviation: oneOf(DEVIATIONS),
  probability: number(0, 1),
  times: whole(1, Number.MAX_SAFE_INTEGER),
  status: { ...whole(400, 599), of: 'status' },
  body: { ...oneOf(Object.keys(GATEWAY_ANSWERS)), of: 'status' },
  retryAfter: {
    expected: 'seconds, or one line of visible ASCII characters and spaces',
    accepts: (value) => isNumber(value, 0, Infinity) || (typeof value === 'string' && /^[ -~]+$/.test(value)),
    of: 'status',
  },
  everyMs: { ...number(0, 3_600_000), of: 'drip' },
  bytes: { ...whole(1, 2 ** 30), of: 'gzip-bomb' },
}

/**
 * Validates a document: one fault, or an array of them.
 * @throws FaultDocumentError listing every problem
 */
export function parseFaults(document: unknown): Fault[] {
  const items: unknown[] = Array.isArray(document) ? document : [document]
  const problems = items.flatMap((item, at) => {
    const where = Array.isArray(document) ? `[${at}] ` : ''
    return problemsOf(item).map((problem) => where + problem)
  })
  if (problems.length > 0) throw new FaultDocumentError(problems)
  return items as Fault[]
}

function problemsOf(item: unknown): string[] {
  if (typeof item !== 'object' || item === null) return [`expected an object, got ${JSON.stringify(item)}`]
  const fault = item as Record<string, unknown>
  const problems = Object.keys(fault).flatMap((name) => problemOf(name, fault) ?? [])
  if ([fault.outcome, fault.latencyMs, fault.deviation].every((one) => one === undefined)) {
    problems.push('outcome, latencyMs, deviation: expected one of them, got none')
  }
  if (fault.outcome === 'status' && fault.status === undefined && fault.body === undefined) {
    problems.push("status, body: expected one of them for outcome 'status', got neither")
  }
  return problems
}

function problemOf(name: string, fault: Record<string, unknown>): string | null {
  const member = Object.hasOwn(MEMBERS, name) ? MEMBERS[name] : undefined
  if (member === undefined) return `${name}: expected one of ${Object.keys(MEMBERS).join(', ')}`
  const value = fault[name]
  if (!member.accepts(value)) return `${name}: expected ${member.expected}, got ${JSON.stringify(value)}`
  if (member.of === undefined || member.of === fault.outcome) return null
  return `${name}: expected only with outcome '${member.of}'`
}

function isNumber(value: unknown, low: number, high: number): boolean {
  return typeof value === 'number' && value >= low && value <= high
}

function number(low: number, high: number): Member {
  return { expected: `a number from ${low} to ${high}`, accepts: (value) => isNumber(value, low, high) }
}

function whole(low: number, high: number): Member {
  return {
    expected: `a whole number from ${low} to ${high}`,
    accepts: (value) => Number.isInteger(value) && isNumber(value, low, high),
  }
}

function oneOf(names: readonly string[]): Member {
  return {
    expected: `one of ${names.join(', ')}`,
    accepts: (value) => typeof value === 'string' && names.includes(value),
  }
}
