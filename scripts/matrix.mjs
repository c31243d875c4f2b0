/**
 * Runs the tests on each line of Node that is supported beside the one installed: npm run test:matrix [-- 22 24]
 * The runtimes come from the registry as packages, so nothing else has to be on the machine.
 */
import { spawnSync } from 'node:child_process'
import process from 'node:process'

const LINES = ['22', '24', '26']
const wanted = process.argv.slice(2)

const results = (wanted.length > 0 ? wanted : LINES).map((line) => {
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
