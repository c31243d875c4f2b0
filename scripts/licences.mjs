// Checks the licences of all production packages against a list: npm run licences
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** Licences that require no more than their own text. Adding one is a manual decision: docs/releasing.md. */
export const ALLOWED = ['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT']

/**
 * The production packages of a lockfile with a licence that is not allowed, one line each. `readManifest` returns the
 * package.json of a path in the lockfile, or null if the package is not installed on this platform.
 */
export function licenceFaults(lock, readManifest) {
  return Object.entries(lock.packages)
    .filter(([path, { dev, link }]) => path !== '' && !dev && !link)
    .flatMap(([path, locked]) => {
      const manifest = readManifest(path)
      const licence = manifest === null ? locked.license : licenceOf(manifest)
      return isAllowed(licence) ? [] : [`${path}@${locked.version}: ${licence ?? 'no licence'}`]
    })
}

/** Reads manifests in `root`; null for an optional package that is not installed, such as that of another platform. */
export function manifestReader(lock, root) {
  return (path) => {
    try {
      return JSON.parse(readFileSync(new URL(`${path}/package.json`, root), 'utf8'))
    } catch (error) {
      if (error.code === 'ENOENT' && lock.packages[path].optional) return null
      throw error
    }
  }
}

/** As a string; `{ type }` and lists of them are deprecated forms. */
function licenceOf({ license, licenses }) {
  const names = [license ?? licenses ?? []].flat().map((one) => (typeof one === 'string' ? one : one.type))
  return names.length === 0 ? undefined : names.join(' AND ')
}

/** SPDX expressions with both operators are never allowed: they need a manual decision. */
function isAllowed(licence) {
  const text = String(licence).replace(/^\((.*)\)$/, '$1')
  if (text.includes(' OR ') && text.includes(' AND ')) return false
  if (text.includes(' OR ')) return text.split(' OR ').some((one) => ALLOWED.includes(one))
  return text.split(' AND ').every((one) => ALLOWED.includes(one))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = new URL('../', import.meta.url)
  const lock = JSON.parse(readFileSync(new URL('package-lock.json', root), 'utf8'))
  const faults = licenceFaults(lock, manifestReader(lock, root))
  const production = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && !dev)
  for (const fault of faults) console.error(fault)
  console.log(`${production.length} production packages, ${faults.length} with a licence that is not allowed`)
  process.exitCode = faults.length === 0 ? 0 : 1
}
