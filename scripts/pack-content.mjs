// Checks which files `npm pack` would put into the package: npm run pack:check. Needs a build.
import { execFileSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'

const REQUIRED = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'SECURITY.md',
  'openapi.yaml',
  'package.json',
  'dist/main.js',
]
const BELONGS =
  /^(?:[A-Z]+\.md|LICENSE|\.env\.example|openapi\.yaml|package\.json|docs\/[a-z-]+\.md|dist\/[\w./-]+\.(?:js|js\.map|html|css|svg)|dist\/http\/docs\/[\w.-]+-?(?:LICENSE|NOTICE)\.txt)$/

/** Missing and unexpected files of a package, one line each. */
export function packFaults(paths) {
  return [
    ...REQUIRED.filter((path) => !paths.includes(path)).map((path) => `${path} is missing`),
    ...paths.filter((path) => !BELONGS.test(path)).map((path) => `${path} does not belong there`),
  ]
}

/** The files that npm would pack from a folder. */
export function packedFiles(folder) {
  const report = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [{ files }] = Object.values(JSON.parse(report)) // a list, or since npm 12 an object by name
  return files.map(({ path }) => path)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const paths = packedFiles(new URL('../', import.meta.url))
  const faults = packFaults(paths)
  for (const fault of faults) console.error(fault)
  console.log(`${paths.length} files in the package, ${faults.length} faults`)
  process.exitCode = faults.length === 0 ? 0 : 1
}
