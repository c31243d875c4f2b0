/** Puts tables into docs/benchmarks.md, each between the two marks that bear its name. */
import { readFileSync, writeFileSync } from 'node:fs'

const FILE = new URL('../../docs/benchmarks.md', import.meta.url)

/** `{ [name]: markdown }`; a table without marks is an error of this repository. */
export function writeTables(tables) {
  let text = readFileSync(FILE, 'utf8')
  for (const [name, table] of Object.entries(tables)) {
    const [begin, end] = [`<!-- bench: ${name} -->`, `<!-- /bench: ${name} -->`]
    const [from, to] = [text.indexOf(begin), text.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no place for ${name}`)
    text = `${text.slice(0, from)}${begin}\n\n${table}\n\n${text.slice(to)}`
  }
  writeFileSync(FILE, text)
}
