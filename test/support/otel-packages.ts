import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** The packages that src/otel.ts loads, in the versions that the test has been run with. */
export const OTEL_PACKAGES = [
  '@opentelemetry/api@1.9.1',
  '@opentelemetry/auto-instrumentations-node@0.81.2',
  '@opentelemetry/sdk-node@0.223.0',
]

/**
 * A node_modules folder with the packages, in the system's temporary folder: they are 116 MB, of which the service needs
 * nothing. Null if they are neither there nor to be installed (TEST_OTEL=install), or the registry cannot be reached.
 */
export async function otelPackages(): Promise<string | null> {
  const name = OTEL_PACKAGES.map((one) => one.slice(one.lastIndexOf('@') + 1)).join('-')
  const folder = join(tmpdir(), `evproxy-otel-${name}`)
  const done = join(folder, 'installed')
  if (existsSync(done)) return join(folder, 'node_modules')
  if (process.env['TEST_OTEL'] !== 'install') return null
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  try {
    const args = [
      'install',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--no-package-lock',
      ...OTEL_PACKAGES,
    ]
    await promisify(execFile)('npm', args, { cwd: folder, timeout: 100_000 })
  } catch {
    return null
  }
  writeFileSync(done, '')
  return join(folder, 'node_modules')
}
