import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * Why a test cannot run here, for its `skip`: programs that it drives are not installed. On a bare machine those tests
 * are passed over and counted as skipped; in CI nothing is, so there a missing program fails the test that needs it.
 */
export function missing(...programs: readonly string[]): string | false {
  const missing = programs.filter((program) => !isInstalled(program))
  return missing.length > 0 && process.env['CI'] !== 'true' ? `${missing.join(', ')} not installed` : false
}

/** A name is looked for in PATH, a path is taken as it is. */
function isInstalled(program: string): boolean {
  const folders = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter)
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
