// Writes the settings of src/config/settings.ts into docs/configuration.md and .env.example: npm run docs:settings
// Needs a build.
import { readFileSync, writeFileSync } from 'node:fs'
import { settingsIn } from '../dist/config/schema.js'
import { GROUP_TITLES, SETTINGS } from '../dist/config/settings.js'

const root = new URL('../', import.meta.url)
const groups = Object.entries(SETTINGS).map(([name, tree]) => ({
  title: GROUP_TITLES[name],
  settings: settingsIn(tree),
}))

const row = ({ name, default: text, description }) =>
  `| \`${name}\` | ${text === null ? '–' : `\`${text}\``} | ${description} |`

const table = ({ title, settings }) =>
  [
    `### ${title}`,
    '',
    '| variable | default | description |',
    '| --- | --- | --- |',
    ...settings.map(row),
  ].join('\n')

const assignment = ({ name, example, description }) =>
  `# ${description}\n${name === SETTINGS.apiKey.value.name ? '' : '#'}${name}=${example}\n`

const section = ({ title, settings }) => `## ${title}\n\n${settings.map(assignment).join('\n')}`

const docs = new URL('docs/configuration.md', root)
writeFileSync(
  docs,
  readFileSync(docs, 'utf8').replace(
    /<!-- settings -->[^]*<!-- \/settings -->/,
    () => `<!-- settings -->\n\n${groups.map(table).join('\n\n')}\n\n<!-- /settings -->`,
  ),
)

const HEADER = `# Settings of ev-availability-proxy: copy this file to .env and set your key. A commented-out line is the default,
# or an example if there is no default. Reference: docs/configuration.md
`
writeFileSync(new URL('.env.example', root), [HEADER, ...groups.map(section)].join('\n'))
