import { parseArgs } from 'node:util'
import { isStationId, MAX_ID_LENGTH } from '../availability/query.ts'

export interface Options {
  readonly stations: readonly string[]
  readonly maxCalls: number
  /** Calls per second; fractions are valid. */
  readonly qps: number
  readonly json: boolean
  /** The directory for records; null for none. */
  readonly record: string | null
}

/** The command line is not valid. */
export class UsageError extends Error {}

const MAX_STATIONS = 20
const MAX_CALLS = 1_000
const MAX_QPS = 100

export const USAGE = `Usage: npm run verify -- --stations ID,ID,… [options]

Asks TomTom, with the environment variables of the service, whether what the proxy assumes of it holds. Each request
counts as a call on your key.

  --stations ID,ID,…  chargingAvailability ids, up to ${MAX_STATIONS}; best with several connector types and power levels
  --max-calls N       never make more calls than this, 1 to ${MAX_CALLS} (default 60)
  --qps N             never make more calls per second than this, up to ${MAX_QPS}; fractions are valid (default 2)
  --json              print one JSON document instead of a table
  --record DIR        write each exchange, with the key masked, to a file in this directory
  --help              print this text

Exit code: 0 nothing is contradicted, 1 an assumption is contradicted, 2 it could not be run.
`

/**
 * Parses the command line; null if it asks for help.
 * @throws UsageError
 */
export function parseOptions(args: readonly string[]): Options | null {
  const { stations, help, json, record, ...numbers } = valuesOf(args)
  if (help === true) return null
  return {
    stations: parseStations(stations),
    maxCalls: parseNumber('--max-calls', numbers['max-calls'], { max: MAX_CALLS, isWhole: true }),
    qps: parseNumber('--qps', numbers.qps, { max: MAX_QPS, isWhole: false }),
    json: json === true,
    record: record ?? null,
  }
}

function valuesOf(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      options: {
        stations: { type: 'string' },
        'max-calls': { type: 'string', default: '60' },
        qps: { type: 'string', default: '2' },
        json: { type: 'boolean' },
        record: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function parseStations(text = ''): string[] {
  const ids = [...new Set(text.split(',').map((id) => id.trim()))].filter((id) => id !== '')
  if (ids.length === 0) throw new UsageError('--stations: expected at least one id')
  if (ids.length > MAX_STATIONS) throw new UsageError(`--stations: expected at most ${MAX_STATIONS} ids`)
  if (!ids.every(isStationId)) {
    throw new UsageError(`--stations: expected ids of 1 to ${MAX_ID_LENGTH} characters`)
  }
  return ids
}

function parseNumber(name: string, text: string, { max, isWhole }: { max: number; isWhole: boolean }) {
  const value = /^\d{1,9}(?:\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN
  if (value > 0 && value <= max && (!isWhole || Number.isInteger(value))) return value
  throw new UsageError(`${name}: expected a ${isWhole ? 'whole ' : ''}number above 0 and up to ${max}`)
}
