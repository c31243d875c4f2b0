// Writes the SBOM of the production packages (CycloneDX, JSON): npm run sbom [-- FILE]
//
// `npm sbom --omit dev` also omits production packages that a development package needs (such as lru-cache), so npm reads
// a lockfile with production packages alone.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const root = new URL('../', import.meta.url)
const read = (name) => JSON.parse(readFileSync(new URL(name, root), 'utf8'))
const { devDependencies: _, ...manifest } = read('package.json')
const lock = read('package-lock.json')
const production = Object.entries(lock.packages).filter(([, { dev }]) => !dev)
const packages = Object.fromEntries(production)
delete packages[''].devDependencies

const folder = mkdtempSync(join(tmpdir(), 'sbom-'))
try {
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ ...lock, packages }))
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--package-lock-only']
  const sbom = JSON.parse(execFileSync('npm', args, { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 26 }))
  sbom.metadata.component.name = manifest.name // npm uses the name of the folder
  const file = process.argv[2] ?? 'artefacts/sbom.cdx.json'
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(sbom, null, 2)}\n`)
  console.log(`${file}: ${sbom.components.length} components of ${manifest.name}@${manifest.version}`)
} finally {
  rmSync(folder, { recursive: true })
}
