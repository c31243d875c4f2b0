import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new folder for temporary files, which is removed with its content when this process ends. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'evproxy-'))
  process.once('exit', () => rmSync(path, { recursive: true, force: true }))
  return path
}
