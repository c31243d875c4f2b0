// Builds the service and attacks it: npm run fuzz -- [--seconds 60] [--seed 1]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const main = 'test/support/fuzz-main.ts'
/** For upstream, the clients and the checks. The services have the heap of the image, in processes of their own. */
const heap = ['--max-old-space-size=1024', '--max-semi-space-size=16']
const { status } = spawnSync(
  process.execPath,
  [...heap, '--import=./scripts/strip-types.mjs', main, ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
)
process.exitCode = status ?? 1
