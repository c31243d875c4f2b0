import type { SimulatorOptions } from './server.ts'

/** What is wrong with the environment, all of it in one message. */
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
 * The options that the environment asks for; an empty variable is an unset one.
 *
 * | variable | default | meaning |
 * | --- | --- | --- |
 * | `SIM_HOST`, `SIM_PORT` | `127.0.0.1`, `9090` | where to listen; port 0 is any free one |
 * | `SIM_KEY` | – | the only key that is let in; without it everyone is |
 * | `SIM_LATENCY` | `0` | ms before every answer |
 * | `SIM_MAX_QPS` | `0` | calls in any second before a 429; 0 is no limit |
 * | `SIM_HICCUP` | `0` | ms; the end of every such period, 5 s at most, is all failures. 0 is never |
 *
 * @throws SettingsError
 */
export function settingsOf(environment: Readonly<Record<string, string | undefined>>): SimulatorOptions {
  const problems: string[] = []
  const text = (name: string, preset: string) => environment[name]?.trim() || preset
  const whole = (name: string, preset: number, most: number) => {
    const value = text(name, String(preset))
    if (/^\d+$/.test(value) && Number(value) <= most) return Number(value)
    problems.push(`${name}: expected a whole number from 0 to ${most}, got ${JSON.stringify(value)}`)
    return preset
  }
  const options = {
    host: text('SIM_HOST', '127.0.0.1'),
    port: whole('SIM_PORT', 9090, 65_535),
    key: text('SIM_KEY', '') || null,
    latencyMs: whole('SIM_LATENCY', 0, 3_600_000),
    maxQps: whole('SIM_MAX_QPS', 0, 1_000_000),
    hiccupMs: whole('SIM_HICCUP', 0, WEEK_MS),
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return options
}
