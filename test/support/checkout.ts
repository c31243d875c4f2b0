import { cpSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from './temporary-folder.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const COPIED = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'openapi.yaml', 'src', 'scripts']

/** A copy of the sources in a new folder, without dist/, so that builds of other tests do not interfere. */
export function copyCheckout(): string {
  const dir = temporaryFolder()
  for (const name of COPIED) cpSync(join(ROOT, name), join(dir, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  return dir
}
