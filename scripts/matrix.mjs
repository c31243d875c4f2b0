/**
 * Runs the tests on other supported lines of Node: npm run test:matrix [-- 22 24]
 * The runtimes are packages of the registry, so nothing else has to be installed.
 */
import { spawnSync } from 'node:child_process'
import process from 'node:process'

const LINES = ['22', '24', '26']
const requested = process.argv.slice(2)

const results = (requested.length > 0 ? requested : LINES).map((line) => {
  console.log(`\n== Node ${line}`)
  const node = `node-${process.platform}-${process.arch}@${line}`
  const { status } = spawnSync(
    'npx',
    ['--yes', '-p', node, '-c', 'node --version && tap --disable-coverage'],
    {
      stdio: 'inherit',
    },
  )
  return { line, ok: status === 0 }
})

for (const { line, ok } of results) console.log(`Node ${line}: ${ok ? 'passed' : 'FAILED'}`)
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1
