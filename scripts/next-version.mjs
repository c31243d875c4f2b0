// Prints the version of the next release, from the version in package.json and the section Unreleased of CHANGELOG.md
// (Semantic Versioning; below 1.0.0 a breaking change raises the second number): node scripts/next-version.mjs
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
const RELEASED = /^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$/gm

/** The released versions, the newest first. */
export function released(changelog) {
  return [...changelog.matchAll(RELEASED)].map(([, version]) => version)
}

/** The version that follows `current`; `current` itself before the first release. */
export function nextVersion(changelog, current) {
  const [latest] = released(changelog)
  if (latest === undefined) return current
  const unreleased = /^## \[Unreleased\]$([^]*?)(?=^## |(?![^]))/m.exec(changelog)?.[1] ?? ''
  if (!/^- /m.test(unreleased)) throw new Error('there is nothing to release')
  const [major, minor, patch] = latest.split('.').map(Number)
  const isBreak = /^### Removed$|\*\*Breaking/m.test(unreleased)
  const isNew = /^### (?:Added|Changed|Deprecated)$/m.test(unreleased)
  if (isBreak && major > 0) return `${major + 1}.0.0`
  return isBreak || isNew ? `${major}.${minor + 1}.0` : `${major}.${minor}.${patch + 1}`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.log(nextVersion(read('CHANGELOG.md'), JSON.parse(read('package.json')).version))
}
