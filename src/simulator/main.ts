import { startSimulator } from './server.ts'
import type { SimulatorOptions } from './server.ts'
import { SettingsError, parseSettings } from './settings.ts'

/** EX_CONFIG of sysexits.h: invalid settings. */
const EXIT_CONFIG = 78

function settingsOrExit(): SimulatorOptions {
  try {
    return parseSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    return process.exit(EXIT_CONFIG)
  }
}

async function startOrExit(options: SimulatorOptions) {
  try {
    return await startSimulator(options)
  } catch (error) {
    process.stderr.write(`The simulator cannot listen: ${(error as Error).message}\n`)
    return process.exit(1)
  }
}

const simulator = await startOrExit(settingsOrExit())
// Once every socket is closed the event loop is empty and the process exits.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void simulator.close())
process.stdout.write(`${JSON.stringify({ message: 'simulator started', url: simulator.url })}\n`)
