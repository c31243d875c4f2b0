// Compiles the fuzzer and the sources beside it, and runs it: npm run fuzz -- [--seconds 60] [--seed 1]
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const out = '.tap/fuzz'
for (const name of ['openapi.yaml', 'src/http/docs'])
  cpSync(path(name), path(`${out}/${name}`), { recursive: true })
execFileSync(
  process.execPath,
  [path('node_modules/typescript/bin/tsc'), '-p', path('.'), '--outDir', path(out)],
  { stdio: 'inherit' },
)
const main = path(`${out}/test/support/fuzz-main.js`)
const { status } = spawnSync(process.execPath, ['--expose-gc', main, ...process.argv.slice(2)], {
  stdio: 'inherit',
})
process.exitCode = status ?? 1
