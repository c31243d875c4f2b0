import type { Deviation } from './deviations.ts'
import { DEVIATIONS } from './deviations.ts'
import type { SimulatorOptions } from './server.ts'

/** Invalid settings; the message lists every problem. */
export class SettingsError extends Error {
  constructor(problems: readonly string[]) {
    super(
      `The simulator's settings are not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
    )
    this.name = 'SettingsError'
  }
}

const WEEK_MS = 7 * 24 * 3_600_000

/**
 * The options from the environment; an empty variable counts as unset.
 *
 * | variable | default | meaning |
 * | --- | --- | --- |
 * | `SIM_HOST`, `SIM_PORT` | `127.0.0.1`, `9090` | where to listen; port 0 selects a free one |
 * | `SIM_KEY` | – | the only valid key; without it no key is required |
 * | `SIM_LATENCY` | `0` | ms before every response |
 * | `SIM_MAX_QPS` | `0` | calls per second before a 429; 0 is no limit |
 * | `SIM_HICCUP` | `0` | period in ms of recurring outages (`createOutages`); 0 is none |
 * | `SIM_CHANGE_SPEED` | `1` | multiplies how often stations change; 1 is as recorded, 0 is never |
 * | `SIM_DEVIATIONS` | – | names of `deviations.ts`, separated by commas |
 *
 * @throws SettingsError
 */
export function parseSettings(environment: Readonly<Record<string, string | undefined>>): SimulatorOptions {
  const problems: string[] = []
  const text = (name: string, fallback: string) => environment[name]?.trim() || fallback
  const whole = (name: string, fallback: number, max: number) => {
    const value = text(name, String(fallback))
    if (/^\d+$/.test(value) && Number(value) <= max) return Number(value)
    problems.push(`${name}: expected a whole number from 0 to ${max}, got ${JSON.stringify(value)}`)
    return fallback
  }
  const options = {
    host: text('SIM_HOST', '127.0.0.1'),
    port: whole('SIM_PORT', 9090, 65_535),
    key: text('SIM_KEY', '') || null,
    latencyMs: whole('SIM_LATENCY', 0, 3_600_000),
    maxQps: whole('SIM_MAX_QPS', 0, 1_000_000),
    outagePeriodMs: whole('SIM_HICCUP', 0, WEEK_MS),
    changeSpeed: whole('SIM_CHANGE_SPEED', 1, 1_000),
    deviations: text('SIM_DEVIATIONS', '')
      .split(',')
      .filter((name) => name !== '') as Deviation[],
  }
  const unknown = options.deviations.filter((name) => !DEVIATIONS.includes(name))
  if (unknown.length > 0) {
    problems.push(
      `SIM_DEVIATIONS: expected names of ${DEVIATIONS.join(', ')}, got ${JSON.stringify(unknown)}`,
    )
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return options
}
