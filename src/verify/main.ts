import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config/load.ts'
import { ConfigError, loadConfig } from '../config/load.ts'
import { parseSecret } from '../lib/secret.ts'
import { createPool } from '../upstream/tomtom/pool.ts'
import { UpstreamClient } from './client.ts'
import { createMask } from './mask.ts'
import type { Options } from './options.ts'
import { parseOptions, USAGE, UsageError } from './options.ts'
import { createRecord } from './record.ts'
import { clean, exitCodeOf, jsonReport, tableReport } from './report.ts'
import { verify } from './run.ts'

/** It could not be run: wrong usage, no valid settings, no answer. */
const EXIT_NOT_RUN = 2

const readFile = (path: string) => readFileSync(path, 'utf8')

/** The options and the settings; null after `--help`. Exits if one of them is not valid. */
function readInput(): { options: Options; config: Config; key: string } | null {
  try {
    const options = parseOptions(process.argv.slice(2))
    if (options === null) return null
    const config = loadConfig(process.env, readFile)
    const key = 'value' in config.apiKey ? config.apiKey.value : parseSecret(readFile(config.apiKey.file))
    if (key === null) throw new UsageError('the file of the API key has no key')
    return { options, config, key }
  } catch (error) {
    if (error instanceof UsageError) process.stderr.write(`${error.message}\n\n${USAGE}`)
    else if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`)
    else throw error
    return process.exit(EXIT_NOT_RUN)
  }
}

async function run({
  options,
  config,
  key,
}: {
  options: Options
  config: Config
  key: string
}): Promise<void> {
  const { baseUrl, timeoutMs, referer } = config.upstream
  const { pool: dispatcher } = createPool({
    baseUrl,
    timeoutMs,
    maxConnections: 1,
    proxy: config.outboundProxy,
  })
  const mask = createMask(key)
  const record = recordOrExit(options.record, mask)
  const deps = { dispatcher, record, now: () => performance.now(), sleep }
  const client = new UpstreamClient({ ...options, baseUrl, key, timeoutMs, referer }, deps)
  const result = await verify(client, { ...options, powerFilter: config.cache.powerFilter })
  await dispatcher.destroy()
  if (result.failure !== null) process.stderr.write(`It could not be run: ${clean(result.failure, mask)}\n`)
  process.stdout.write(options.json ? jsonReport(result, mask) : tableReport(result, mask))
  process.exitCode = exitCodeOf(result)
}

function recordOrExit(directory: string | null, mask: (text: string) => string) {
  try {
    return createRecord(directory, mask)
  } catch (error) {
    process.stderr.write(`--record: ${(error as NodeJS.ErrnoException).code ?? 'cannot be written'}\n`)
    return process.exit(EXIT_NOT_RUN)
  }
}

const input = readInput()
if (input === null) process.stdout.write(USAGE)
else await run(input)
