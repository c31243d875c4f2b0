// Copies the files of the pages next to the compiled code that serves them, because tsc does not. Of the renderer of the
// API reference (12 MB) only the needed files are copied (2 MB), with its licence.
import { cpSync } from 'node:fs'
import { createRequire } from 'node:module'

const { resolve } = createRequire(import.meta.url)
const dist = (path) => new URL(`../dist/${path}`, import.meta.url)

for (const folder of ['ops/status/page/', 'http/docs/']) {
  cpSync(new URL(`../src/${folder}`, import.meta.url), dist(folder), { recursive: true })
}
for (const name of ['swagger-ui.css', 'swagger-ui-bundle.js', 'swagger-ui-bundle.js.LICENSE.txt']) {
  cpSync(resolve(`swagger-ui-dist/${name}`), dist(`http/docs/${name}`))
}
for (const name of ['LICENSE', 'NOTICE']) {
  cpSync(resolve(`swagger-ui-dist/${name}`), dist(`http/docs/swagger-ui-${name}.txt`))
}
