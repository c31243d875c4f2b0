// Puts what pages consist of beside the compiled code that serves them; tsc leaves it where it is. The renderer of the
// API reference comes with its licence: its package is twelve megabytes of which the page needs two.
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
