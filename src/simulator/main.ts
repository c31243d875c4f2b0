import { startSimulator } from './server.ts'
import type { SimulatorOptions } from './server.ts'
import { SettingsError, settingsOf } from './settings.ts'

/** EX_CONFIG of sysexits.h: the environment asks for something that cannot be. */
const EXIT_CONFIG = 78

function settingsOrExit(): SimulatorOptions {
  try {
    return settingsOf(process.env)
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
// With every socket ended nothing is left to do, and the process ends by itself.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void simulator.close())
process.stdout.write(`${JSON.stringify({ message: 'simulator started', url: simulator.url })}\n`)
