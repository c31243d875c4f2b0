import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface ExtraPackages {
  /** Names the folder. */
  readonly name: string
  /** With exact versions. */
  readonly packages: readonly string[]
  /** The environment variable that allows to install them with the value `install`. */
  readonly variable: string
}

/**
 * A node_modules folder with packages that the project does not depend on, in the system's temporary folder. Null if they
 * are neither there nor to be installed, or the registry cannot be reached.
 */
export async function extraPackages({ name, packages, variable }: ExtraPackages): Promise<string | null> {
  const versions = packages.map((one) => one.slice(one.lastIndexOf('@') + 1)).join('-')
  const folder = join(tmpdir(), `evproxy-${name}-${versions}`)
  const done = join(folder, 'installed')
  if (existsSync(done)) return join(folder, 'node_modules')
  if (process.env[variable] !== 'install') return null
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock']
  try {
    await promisify(execFile)('npm', ['install', ...options, ...packages], { cwd: folder, timeout: 100_000 })
  } catch {
    return null
  }
  writeFileSync(done, '')
  return join(folder, 'node_modules')
}
