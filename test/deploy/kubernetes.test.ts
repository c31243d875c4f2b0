import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { parseOverrides } from '../../src/config/runtime-settings.ts'
import { settingsIn } from '../../src/config/schema.ts'
import { SETTINGS } from '../../src/config/settings.ts'
import type { Resource } from '../support/kubernetes-schema.ts'
import { NO_KUBERNETES_TYPES, resourceProblems } from '../support/kubernetes-schema.ts'
import { missing } from '../support/requirements.ts'

const root = new URL('../../', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, root), 'utf8')
const settings = new Map(settingsIn(SETTINGS).map((setting) => [setting.name, setting]))

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
  readonly periodSeconds: number
  readonly timeoutSeconds?: number
  readonly failureThreshold?: number
}

interface Container {
  readonly name: string
  readonly image: string
  readonly restartPolicy?: string
  readonly env?: readonly { readonly name: string; readonly value: string }[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly startupProbe?: Probe
  readonly livenessProbe?: Probe
  readonly readinessProbe?: Probe
  readonly resources: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly volumeMounts?: readonly {
    readonly name: string
    readonly mountPath: string
    readonly readOnly?: boolean
  }[]
}

interface PodSpec {
  readonly terminationGracePeriodSeconds?: number
  readonly automountServiceAccountToken?: boolean
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly topologySpreadConstraints?: readonly unknown[]
  readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[]
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
}

interface Manifest extends Resource {
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly data?: Readonly<Record<string, string>>
  readonly spec: {
    readonly [member: string]: unknown
    readonly replicas?: number
    readonly selector?: { readonly matchLabels?: Record<string, string> }
    readonly template?: {
      readonly metadata: { readonly labels: Record<string, string> }
      readonly spec: PodSpec
    }
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[]
  }
}

/** Debian 12's kubectl is older than the components of kustomize. */
function kustomizeSkip(): string | false {
  const absent = missing('kubectl')
  if (absent !== false || process.env['CI'] === 'true') return absent
  const { kustomizeVersion = 'v0' } = JSON.parse(
    execFileSync('kubectl', ['version', '--client', '--output', 'json'], { encoding: 'utf8' }),
  ) as { kustomizeVersion?: string }
  return Number(/^v(\d+)/.exec(kustomizeVersion)?.[1]) < 5
    ? `kubectl has kustomize ${kustomizeVersion}`
    : false
}

function build(folder: string): Manifest[] {
  const path = fileURLToPath(new URL(`deploy/kubernetes/${folder}`, root))
  const text = execFileSync('kubectl', ['kustomize', path], { encoding: 'utf8' })
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest)
}

const overlays = readdirSync(new URL('deploy/kubernetes/overlays', root)).map((name) => `overlays/${name}`)
const components = readdirSync(new URL('deploy/kubernetes/components', root))
const skip = kustomizeSkip()
const built = new Map(skip === false ? ['base', ...overlays].map((folder) => [folder, build(folder)]) : [])
const manifests = (folder: string) => built.get(folder) ?? []
const ofKind = (folder: string, kind: string) => manifests(folder).filter((one) => one.kind === kind)
const pod = (folder: string, kind = 'StatefulSet') =>
  ofKind(folder, kind).find(({ metadata }) => !metadata.name.endsWith('redis'))?.spec.template
    ?.spec as PodSpec

/** Every container of the proxy in every build, with its pod and the number of pods. */
const proxies = [...built].flatMap(([folder, all]) =>
  all.flatMap(({ spec }) => {
    const { initContainers = [], containers = [] } = spec?.template?.spec ?? {}
    return [...initContainers, ...containers]
      .filter(({ image }) => /(?:^|\/)ev-availability-proxy:/.test(image))
      .map((container) => ({
        folder,
        container,
        pod: spec.template?.spec as PodSpec,
        replicas: spec.replicas,
      }))
  }),
)
const envOf = (container: Container) =>
  Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value]))
const milliseconds = (text = '') => SETTINGS.drain.delayMs.parse(text) ?? Number.NaN

/** Conventional variables that are no settings of the service. */
const CONVENTIONAL = new Set(['HTTPS_PROXY', 'NODE_EXTRA_CA_CERTS'])

await t.test('every overlay of deploy/kubernetes builds', { skip }, async (t) => {
  t.strictSame(
    [...built].filter(([, all]) => all.length === 0).map(([folder]) => folder),
    [],
  )
  const used = overlays.flatMap((folder) => {
    const { components: names = [] } = parse(read(`deploy/kubernetes/${folder}/kustomization.yaml`)) as {
      components?: string[]
    }
    return names.map((name) => name.replace('../../components/', ''))
  })
  t.strictSame(new Set(used), new Set(components), 'each component is used by an overlay')
})

await t.test(
  'every document is valid against the types of Kubernetes',
  { skip: skip || NO_KUBERNETES_TYPES },
  async (t) => {
    t.equal(await resourceProblems([...built.values()].flat()), '')
    const [service] = ofKind('base', 'Service')
    const misspelt = { ...service, spec: { ...service?.spec, selectors: {} } } as unknown as Resource
    t.match(await resourceProblems([misspelt]), 'selectors', 'an unknown member is detected')
  },
)

await t.test('no manifest contains a Secret', { skip }, async (t) => {
  t.strictSame(
    [...built.keys()].flatMap((folder) => ofKind(folder, 'Secret')),
    [],
  )
})

await t.test('every selector of the base selects the pods of the proxy', { skip }, async (t) => {
  const [set] = ofKind('base', 'StatefulSet')
  const labels = set?.spec.template?.metadata.labels
  const selectors = ['StatefulSet', 'PodDisruptionBudget'].map(
    (kind) => ofKind('base', kind)[0]?.spec.selector?.matchLabels,
  )
  t.strictSame([...selectors, ofKind('base', 'Service')[0]?.spec.selector], [labels, labels, labels])
  t.match(ofKind('overlays/example', 'PodMonitor')[0]?.spec, { selector: { matchLabels: labels } })
})

await t.test('every container of the proxy', { skip }, async (t) => {
  t.equal(proxies.length, 4)

  await t.test('the proxies set existing settings to valid values', async (t) => {
    const invalid = proxies.flatMap(({ folder, container }) =>
      Object.entries(envOf(container))
        .filter(([name, value]) => !CONVENTIONAL.has(name) && settings.get(name)?.parse(value) === undefined)
        .map(([name, value]) => `${folder}: ${name}=${value}`),
    )
    t.strictSame(invalid, [])
  })

  await t.test('the share of each proxy is one of the number of pods', async (t) => {
    t.strictSame(
      proxies.map(({ container }) => envOf(container)['UPSTREAM_LIMIT_SHARE']),
      proxies.map(({ replicas }) => `1/${replicas}`),
    )
  })

  await t.test('the key is a file of a mounted folder', async (t) => {
    const mounts = proxies.map(({ container }) => {
      const file = envOf(container)['TOMTOM_API_KEY_FILE'] ?? ''
      return container.volumeMounts?.find(({ mountPath }) => file.startsWith(`${mountPath}/`))
    })
    t.strictSame(
      mounts.map((mount) => [mount?.readOnly, mount !== undefined && 'subPath' in mount]),
      proxies.map(() => [true, false]),
    )
  })

  await t.test('the proxies have STATE_DIR on a volume, or REDIS_URL', async (t) => {
    const stores = proxies.map(({ folder, container, pod }) => {
      const { STATE_DIR: stateDir, REDIS_URL: redisUrl } = envOf(container)
      const mount = container.volumeMounts?.find(({ mountPath }) => mountPath === stateDir)
      const claims = manifests(folder).flatMap(({ spec }) => spec?.volumeClaimTemplates ?? [])
      const volumes = [...pod.volumes.map(({ name }) => name), ...claims.map(({ metadata }) => metadata.name)]
      return {
        redisUrl: redisUrl !== undefined,
        onVolume: mount !== undefined && volumes.includes(mount.name),
      }
    })
    t.ok(stores.every(({ redisUrl, onVolume }) => redisUrl !== onVolume))
    t.strictSame(
      proxies.filter((_, i) => stores[i]?.redisUrl).map(({ folder }) => folder),
      ['overlays/redis'],
    )
  })

  await t.test('every mount has its volume', async (t) => {
    const dangling = [...built.values()].flat().flatMap(({ spec }) => {
      const { volumes = [], containers = [], initContainers = [] } = spec?.template?.spec ?? {}
      const claims = spec?.volumeClaimTemplates ?? []
      const names = new Set([
        ...volumes.map(({ name }) => name),
        ...claims.map(({ metadata }) => metadata.name),
      ])
      const mounts = [...containers, ...initContainers].flatMap(({ volumeMounts = [] }) => volumeMounts)
      return mounts.filter(({ name }) => !names.has(name))
    })
    t.strictSame(dangling, [])
  })

  await t.test('the drain is longer than the failing probes and shorter than the grace period', async (t) => {
    const times = proxies.map(({ container, pod }) => {
      const { periodSeconds = 0, failureThreshold = 3, timeoutSeconds = 1 } = container.readinessProbe ?? {}
      const unreadyMs = container.readinessProbe
        ? (periodSeconds * failureThreshold + timeoutSeconds) * 1_000
        : 0
      const { DRAIN_DELAY: delay, DRAIN_TIMEOUT: timeout } = envOf(container)
      const graceMs = (pod.terminationGracePeriodSeconds ?? 30) * 1_000
      return [unreadyMs, milliseconds(delay), milliseconds(timeout), graceMs] as const
    })
    const isSound = ([unreadyMs, delayMs, timeoutMs, graceMs]: (typeof times)[number]) =>
      delayMs >= 2_000 && unreadyMs < delayMs && delayMs + 2_000 < timeoutMs && timeoutMs + 1_000 < graceMs
    t.strictSame(
      times.filter((one) => !isSound(one)),
      [],
    )
  })

  await t.test('the proxies run without privileges and with memory limits', async (t) => {
    const hardened = {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    }
    const unprivileged = { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } }
    t.match(
      proxies.map(({ container }) => container.securityContext),
      proxies.map(() => hardened),
    )
    t.match(
      proxies.map(({ container, pod }) => ({ ...pod.securityContext, ...container.securityContext })),
      proxies.map(() => unprivileged),
    )
    t.ok(proxies.every(({ container }) => container.resources['limits']?.['memory']))
    t.ok(proxies.every(({ container }) => container.resources['limits']?.['cpu'] === undefined))
  })

  await t.test('every probe uses the admin port', async (t) => {
    const paths = proxies.map(({ container }) => {
      const { startupProbe, livenessProbe, readinessProbe, ports = [] } = container
      const admin = ports.find(({ containerPort }) => String(containerPort) === SETTINGS.admin.port.default)
      return [startupProbe, livenessProbe, readinessProbe].map(
        (probe) => probe && (probe.httpGet.port === admin?.name ? probe.httpGet.path : 'another port'),
      )
    })
    t.strictSame(
      new Set(paths.map((one) => one.join(' ').trim())),
      new Set(['/livez /livez /readyz', '/livez /livez']),
    )
  })
})

await t.test('the base has two replicas that are spread, and evicted one at a time', { skip }, async (t) => {
  const [set] = ofKind('base', 'StatefulSet')
  t.match(set?.spec, { replicas: 2, minReadySeconds: Number })
  t.equal(pod('base').topologySpreadConstraints?.length, 2)
  t.match(ofKind('base', 'PodDisruptionBudget')[0]?.spec, { maxUnavailable: 1 })
  t.strictSame(ofKind('base', 'Service')[0]?.spec['ports'], [{ name: 'http', port: 80, targetPort: 'http' }])
  t.equal(pod('base').automountServiceAccountToken, false)
})

await t.test('a rollout of the base stops at a pod whose key upstream rejects', { skip }, async (t) => {
  const [container] = pod('base').containers
  t.match(container && envOf(container), { CHECK_KEY_AT_START: 'true' })
  t.equal(container?.readinessProbe?.httpGet.path, '/readyz')
  t.equal(container?.startupProbe?.httpGet.path, '/livez', 'an unready pod is not restarted')
})

await t.test('SETTINGS_FILE of the base is the valid file of a ConfigMap', { skip }, async (t) => {
  const [container] = pod('base').containers
  const file = (container && envOf(container)['SETTINGS_FILE']) ?? ''
  const mount = container?.volumeMounts?.find(({ mountPath }) => file.startsWith(`${mountPath}/`))
  t.notOk(mount && 'subPath' in mount, 'a file of a subPath is never replaced')
  const volume = pod('base').volumes.find(({ name }) => name === mount?.name)
  const map = ofKind('base', 'ConfigMap').find(({ metadata }) => metadata.name === volume?.configMap?.name)
  const text = map?.data?.[file.split('/').at(-1) ?? ''] ?? 'missing'
  t.strictSame(parseOverrides(text), { values: {}, problems: [] })
})

await t.test('the sidecar is an init container that starts before the application', { skip }, async (t) => {
  const { initContainers, containers } = pod('overlays/sidecar', 'Deployment')
  t.match(initContainers, [{ name: 'ev-availability-proxy', restartPolicy: 'Always' }])
  t.ok(initContainers?.[0]?.startupProbe)
  t.strictSame(
    containers.map(({ name }) => name),
    ['map'],
  )
})

await t.test(
  'the network policies admit clients, Prometheus, DNS, upstream, an egress proxy, Redis',
  { skip },
  async (t) => {
    const text = JSON.stringify(ofKind('overlays/example', 'NetworkPolicy'))
    const needed = [
      '0.0.0.0/0',
      '::/0',
      '169.254.20.10/32',
      'kube-dns',
      '3128',
      '6379',
      '"admin"',
      '"http"',
      '443',
    ]
    t.strictSame(
      needed.filter((part) => !text.includes(part)),
      [],
    )
  },
)

await t.test('the PrometheusRule has the groups of the tested rule files', { skip }, async (t) => {
  const groups = ['recording', 'alerts'].flatMap(
    (name) => (parse(read(`deploy/prometheus/rules/${name}.yml`)) as { groups: unknown[] }).groups,
  )
  t.strictSame(ofKind('overlays/example', 'PrometheusRule')[0]?.spec['groups'], groups)
})

await t.test('the ConfigMap of the dashboard has the dashboard of deploy/grafana', { skip }, async (t) => {
  const map = ofKind('overlays/example', 'ConfigMap').find(({ metadata }) =>
    metadata.name.endsWith('dashboard'),
  )
  const name = 'ev-availability-proxy.json'
  t.strictSame(map?.data, { [name]: read(`deploy/grafana/dashboards/${name}`) })
})
