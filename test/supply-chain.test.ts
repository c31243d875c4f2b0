import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = new URL('../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

interface Scripts {
  judge: (stdout: string) => { verdict: string; text: string }
  licenceFaults: (lock: object, readManifest: (path: string) => object | null) => string[]
  manifestReader: (lock: object, root: URL) => (path: string) => object | null
  nextVersion: (changelog: string, current: string) => string
  released: (changelog: string) => string[]
  packedFiles: (folder: string) => string[]
  packFaults: (paths: readonly string[]) => string[]
}
const modules = ['audit-signatures', 'licences', 'next-version', 'pack-content'].map(
  (name) => import(new URL(`scripts/${name}.mjs`, root).href) as Promise<object>,
)
const { judge, licenceFaults, manifestReader, nextVersion, released, packedFiles, packFaults } =
  Object.assign({}, ...(await Promise.all(modules))) as Scripts

const manifest = JSON.parse(read('package.json')) as { version: string; files: string[] }

interface Locked {
  readonly version: string
  readonly license?: string
  readonly dev?: boolean
  readonly resolved?: string
  readonly hasInstallScript?: boolean
}
const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> }
const production = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true)

await t.test('the licences of the packages', async (t) => {
  await t.test('the licence of every production package is allowed', async (t) => {
    t.ok(production.length > 50)
    t.strictSame(licenceFaults(lock, manifestReader(lock, root)), [])
  })

  await t.test('a licence that is not allowed is reported', async (t) => {
    const problems = (declared: object | null, locked: object = {}) =>
      licenceFaults(
        { packages: { '': {}, 'node_modules/a': { version: '1.0.0', ...locked } } },
        () => declared,
      )
    const allowed = ['MIT', '(MIT OR GPL-3.0)', '(BSD-3-Clause AND MIT)', { type: 'ISC' }]
    t.strictSame(
      allowed.flatMap((license) => problems({ license })),
      [],
    )
    const forbidden = [
      'GPL-3.0-only',
      'AGPL-3.0',
      'UNLICENSED',
      'SEE LICENSE IN LICENSE.txt',
      'mit',
      '',
      '(MIT AND GPL-3.0)',
      '(GPL-2.0 OR GPL-3.0)',
      '(MIT OR (ISC AND GPL-3.0))',
      { type: 'GPL-3.0' },
    ]
    t.strictSame(
      forbidden.filter((license) => problems({ license }).length !== 1),
      [],
    )
    t.strictSame(problems({}), ['node_modules/a@1.0.0: no licence'])
    t.strictSame(problems({ licenses: [{ type: 'MIT' }, { type: 'GPL-2.0' }] }), [
      'node_modules/a@1.0.0: MIT AND GPL-2.0',
    ])
    t.strictSame(
      problems(null, { license: 'GPL-3.0' }),
      ['node_modules/a@1.0.0: GPL-3.0'],
      'a package that is not installed on this platform',
    )
    t.strictSame(problems({ license: 'GPL-3.0' }, { dev: true }), [], 'development packages are not checked')
  })
})

/**
 * Packages whose install script only compiles what their platform packages contain already (@lmdb/lmdb-linux-x64 and so
 * on, optional dependencies in the lockfile). `ignore-scripts` in .npmrc keeps the scripts from running.
 */
const PREBUILT = new Set(['node_modules/lmdb', 'node_modules/msgpackr-extract'])

await t.test('the lockfile has no registry, and no install script that production needs', async (t) => {
  const wrong = production.filter(
    ([path, { resolved, hasInstallScript }]) =>
      resolved !== undefined || (hasInstallScript !== undefined && !PREBUILT.has(path)),
  )
  t.strictSame(wrong, [])
  t.match(read('.npmrc'), /^ignore-scripts=true$/m)
})

await t.test('the signatures of the packages', async (t) => {
  const verdict = (report: unknown) => judge(JSON.stringify(report)).verdict
  await t.test('valid signatures pass', async (t) => {
    t.equal(verdict({ invalid: [], missing: [] }), 'verified')
  })
  await t.test('an invalid or missing signature fails and is named', async (t) => {
    const invalid = { name: 'evil', version: '1.0.0', code: 'EINTEGRITYSIGNATURE' }
    t.match(judge(JSON.stringify({ invalid: [invalid], missing: [] })), {
      verdict: 'bad',
      text: /evil@1\.0\.0/,
    })
    t.equal(verdict({ invalid: [], missing: [invalid] }), 'bad')
  })
  await t.test('signatures that cannot be fetched pass with a warning', async (t) => {
    const codes = ['ENOTFOUND', 'ECONNREFUSED', 'ETIMEDOUT', 'E404']
    t.match(
      codes.map((code) => judge(JSON.stringify({ error: { code, summary: 'x' } }))),
      codes.map(() => ({ verdict: 'unknown', text: /NOT CHECKED/ })),
    )
    const summary = 'found no dependencies to audit that were installed from a supported registry'
    t.equal(verdict({ error: { code: null, summary } }), 'unknown')
  })
  await t.test('any other report fails', async (t) => {
    const reports = [
      { error: { code: 'TUF_VERIFY', summary: 'x' } },
      { error: { code: 'EEXPIREDSIGNATUREKEY' } },
      {},
    ]
    t.strictSame(reports.map(verdict), ['bad', 'bad', 'bad'])
    t.equal(judge('').verdict, 'bad')
  })
})

await t.test('the package has the required files and no others', async (t) => {
  const planted = {
    'package.json': read('package.json'),
    '.env': 'TOMTOM_API_KEY=x',
    '.env.example': '',
    'key.txt': '',
    'openapi.yaml': '',
    'README.md': '',
    'CHANGELOG.md': '',
    'SECURITY.md': '',
    LICENSE: '',
    artefacts: { 'sbom.cdx.json': '' },
    dist: { 'main.js': '', 'main.js.map': '', ops: { status: { page: { 'index.html': '' } } } },
    docs: { 'deploy.md': '', 'key.txt': '' },
    src: { 'main.ts': '' },
    test: { 'a.test.ts': '' },
  }
  const paths = packedFiles(t.testdir(planted))
  t.strictSame(packFaults(paths), [])
  t.strictSame(
    paths.toSorted(),
    [
      '.env.example',
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'dist/main.js',
      'dist/main.js.map',
      'dist/ops/status/page/index.html',
      'docs/deploy.md',
      'openapi.yaml',
      'package.json',
    ].toSorted(),
  )
  const extra = ['.env', 'src/main.ts', 'test/a.ts', 'dist/key.pem', '.npmrc', 'docs/key.txt', 'dist/.env']
  t.strictSame(
    packFaults([...paths, ...extra]),
    extra.map((path) => `${path} does not belong there`),
  )
  t.strictSame(packFaults(paths.filter((path) => path !== 'LICENSE')), ['LICENSE is missing'])
})

await t.test('the SBOM has every production package and no other', async (t) => {
  const file = join(t.testdir({}), 'sbom.json')
  execFileSync('node', ['scripts/sbom.mjs', file], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] })
  const sbom = JSON.parse(readFileSync(file, 'utf8')) as {
    bomFormat: string
    metadata: { component: Record<string, unknown> }
    components: { name: string; group?: string; version: string; purl: string; licenses?: unknown[] }[]
  }
  t.equal(sbom.bomFormat, 'CycloneDX')
  t.match(sbom.metadata.component, {
    name: 'ev-availability-proxy',
    version: manifest.version,
    type: 'application',
  })
  const listed = sbom.components.map(({ purl }) => decodeURIComponent(purl).replace(/\?.*/, ''))
  const expected = production.map(
    ([path, { version }]) => `pkg:npm/${path.replace(/.*node_modules\//, '')}@${version}`,
  )
  t.strictSame([...new Set(listed)].toSorted(), [...new Set(expected)].toSorted())
})

await t.test('the versions', async (t) => {
  const changelog = read('CHANGELOG.md')
  const versions = released(changelog)

  await t.test(
    'package, lockfile, contract and example deployment have the version of the newest release',
    async (t) => {
      const { version } = manifest
      t.equal(version, versions[0] ?? '0.1.0', 'before the first release, its version')
      t.equal(lock.packages['']?.version, version, 'package-lock.json')
      t.match(read('openapi.yaml'), new RegExp(`^  version: ${version}$`, 'm'), 'openapi.yaml')
      const images = ['base/stateful-set.yaml', 'components/sidecar/proxy.yaml'].flatMap((name) =>
        [...read(`deploy/kubernetes/${name}`).matchAll(/image: ev-availability-proxy:(.+)/g)].map(
          ([, tag]) => tag,
        ),
      )
      t.strictSame(images, [version, version], 'deploy/kubernetes')
    },
  )

  await t.test('the changelog has a heading per version, the newest first, after Unreleased', async (t) => {
    const headings = [...changelog.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)
    t.equal(headings[0], '[Unreleased]')
    t.equal(headings.length, versions.length + 1, 'there are no other headings')
    const numbers = versions.map((version) => {
      const [release = '', candidate = '9999'] = version.split('-rc.')
      return [...release.split('.'), candidate].map(Number).reduce((sum, n) => sum * 1e4 + n, 0)
    })
    t.strictSame(
      numbers,
      numbers.toSorted((a, b) => b - a),
    )
  })

  await t.test('the next version follows from the unreleased changes', async (t) => {
    const log = (unreleased: string, latest: string) =>
      `# Changelog\n\n## [Unreleased]\n\n${unreleased}\n\n## [${latest}] - 2026-01-01\n\n### Removed\n\n- x\n`
    const cases = [
      ['### Fixed\n\n- x', '1.2.3', '1.2.4'],
      ['### Security\n\n- x', '1.2.3', '1.2.4'],
      ['### Added\n\n- x', '1.2.3', '1.3.0'],
      ['### Fixed\n\n- x\n\n### Changed\n\n- x', '1.2.3', '1.3.0'],
      ['### Removed\n\n- x', '1.2.3', '2.0.0'],
      ['### Changed\n\n- **Breaking**: x', '1.2.3', '2.0.0'],
      ['### Removed\n\n- x', '0.2.3', '0.3.0'],
    ] as const
    t.strictSame(
      cases.map(([unreleased, latest]) => nextVersion(log(unreleased, latest), latest)),
      cases.map(([, , next]) => next),
    )
    t.equal(nextVersion('## [Unreleased]\n\n### Added\n\n- x\n', '0.1.0'), '0.1.0', 'the first release')
    t.equal(
      nextVersion(log('', '1.0.0-rc.2'), '1.0.0-rc.2'),
      '1.0.0',
      'after a candidate, the release itself',
    )
    t.throws(() => nextVersion(log('', '1.2.3'), '1.2.3'), /nothing to release/)
  })
})
