// Writes the table of settings into README.md from the one in src/config-settings.ts (needs a build): npm run docs:settings
import { readFileSync, writeFileSync } from 'node:fs'
import { SETTINGS } from '../dist/config/load.js'

const readme = new URL('../README.md', import.meta.url)
const cell = (preset) => (preset === null ? '–' : `\`${preset}\``)
const rows = Object.entries(SETTINGS).map(
  ([name, { preset, meaning }]) => `| \`${name}\` | ${cell(preset)} | ${meaning} |`,
)
const table = ['| variable | default | meaning |', '| --- | --- | --- |', ...rows].join('\n')
const text = readFileSync(readme, 'utf8')
const next = text.replace(
  /<!-- settings -->[^]*<!-- \/settings -->/,
  () => `<!-- settings -->\n\n${table}\n\n<!-- /settings -->`,
)
writeFileSync(readme, next)
