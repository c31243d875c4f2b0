// Writes the table of outcomes into docs/architecture.md from src/upstream/outcomes.ts (needs a build): npm run docs:outcomes
import { readFileSync, writeFileSync } from 'node:fs'
import { renderOutcomeTable } from '../dist/upstream/outcomes.js'

const document = new URL('../docs/architecture.md', import.meta.url)
const text = readFileSync(document, 'utf8')
const next = text.replace(
  /<!-- outcomes:start -->[^]*<!-- outcomes:end -->/,
  () => `<!-- outcomes:start -->\n\n${renderOutcomeTable()}\n\n<!-- outcomes:end -->`,
)
writeFileSync(document, next)
