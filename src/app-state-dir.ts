import { join, resolve } from 'node:path'
import { ConfigError } from './config/load.ts'
import type { EarlyCheck } from './state-dir/check-file.ts'
import { beginCheck } from './state-dir/check-file.ts'
import { STORE_FILE, UnusableDirectoryError } from './state-dir/directory.ts'
import { inspectDirectory } from './state-dir/inspect.ts'

/**
 * Looks at STATE_DIR without changing anything in it.
 * @returns what a start would warn of
 * @throws ConfigError if a start would end with it
 */
export function inspectStateDir(dir: string): string[] {
  try {
    return inspectDirectory(dir).map((warning) => `STATE_DIR: ${warning}`)
  } catch (error) {
    throw configErrorOf(error)
  }
}

/**
 * Begins the check of the store file in a directory that can be used.
 * @throws ConfigError as inspectStateDir
 */
export function beginStateCheck(dir: string): EarlyCheck {
  inspectStateDir(dir)
  return beginCheck(join(resolve(dir), STORE_FILE))
}

/** The error of a directory as that of its setting. */
export function configErrorOf(error: unknown): unknown {
  return error instanceof UnusableDirectoryError ? new ConfigError([`STATE_DIR: ${error.message}`]) : error
}
