import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * The `skip` of tests that need programs: the names of those that are not installed, or false. In CI nothing is skipped:
 * a missing program fails the test.
 */
export function missing(...programs: readonly string[]): string | false {
  const absent = programs.filter((program) => !isInstalled(program))
  return absent.length > 0 && process.env['CI'] !== 'true' ? `${absent.join(', ')} not installed` : false
}

/** A name is searched in PATH, a path is used as it is. */
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
