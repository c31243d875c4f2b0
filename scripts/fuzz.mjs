// Compiles the fuzzer and the sources beside it, and runs it: npm run fuzz -- [--seconds 60] [--seed 1]
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const out = '.tap/fuzz'
mkdirSync(path(out), { recursive: true })
copyFileSync(path('openapi.yaml'), path(`${out}/openapi.yaml`))
execFileSync(path('node_modules/.bin/tsc'), ['-p', path('.'), '--outDir', path(out)], { stdio: 'inherit' })
const main = path(`${out}/test/support/fuzz-main.js`)
const { status } = spawnSync(process.execPath, ['--expose-gc', main, ...process.argv.slice(2)], {
  stdio: 'inherit',
})
process.exitCode = status ?? 1
