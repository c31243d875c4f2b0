// Puts the status page's own files beside the compiled code that serves them; tsc leaves them where they are.
import { cpSync } from 'node:fs'

const from = new URL('../src/ops/page/', import.meta.url)
cpSync(from, new URL('../dist/ops/page/', import.meta.url), { recursive: true })
