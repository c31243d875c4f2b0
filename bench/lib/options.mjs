/** What the command line asks for, and what this machine needs for it. */
import { parseArgs } from 'node:util'
import { programPath } from './process.mjs'

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
  peers: { type: 'string' },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  write: { type: 'boolean', default: false },
}

const listOf = (text) => (text === undefined ? null : text.split(',').filter((name) => name !== ''))

/** Lists are null when everything is asked for, numbers when the part's own choice holds. */
export function readOptions(argv) {
  const { values } = parseArgs({ args: argv, options: OPTIONS })
  const number = (text) => (text === undefined ? null : Number(text))
  return {
    quick: values.quick,
    write: values.write,
    only: listOf(values.only),
    peers: listOf(values.peers),
    rounds: number(values.rounds),
    seconds: number(values.seconds),
  }
}

/** Ends with a sentence if a program is missing without which nothing can be measured. */
export function requirePrograms() {
  const missing = [
    ['taskset', 'util-linux'],
    ['wrk', 'wrk'],
  ].filter(([name]) => programPath(name) === null)
  if (process.platform === 'linux' && missing.length === 0) return
  const packages = missing.map(([, debian]) => debian).join(' ')
  console.error(`The benchmarks need Linux and two cores; missing: apt-get install ${packages}`)
  process.exit(1)
}

/** Progress, beside the tables on standard output. */
export function say(text) {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)}  ${text}\n`)
}
