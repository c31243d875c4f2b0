import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { SETTINGS } from '../src/config/load.ts'
import { schemaFaults } from './support/dashboard-schema.ts'
import { readExposition } from './support/exposition.ts'
import { lacking } from './support/requirements.ts'
import { startService } from './support/service.ts'

const root = new URL('../', import.meta.url)
const path = (name: string) => fileURLToPath(new URL(name, root))
const read = (name: string) => readFileSync(path(name), 'utf8')

interface Rule {
  readonly record?: string
  readonly alert?: string
  readonly expr: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

interface Target {
  readonly expr: string
  readonly refId: string
  readonly datasource: { readonly uid: string }
}

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: { readonly type: string; readonly uid: string }
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly Target[]
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit?: string
      readonly thresholds?: { readonly steps: readonly { readonly value: number | null }[] }
    }
  }
}

interface Variable {
  readonly name: string
  readonly type: string
  readonly definition?: string
}

interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly schemaVersion: number
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly Variable[] }
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] }
}

interface Service {
  readonly image: string
  readonly profiles?: readonly string[]
  readonly restart?: string
  readonly deploy?: { readonly replicas: string }
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly ports?: readonly string[]
}

const rulesOf = (name: string) =>
  (parse(read(name)) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules)
const recording = rulesOf('deploy/prometheus/rules/recording.yml')
const alerts = rulesOf('deploy/prometheus/rules/alerts.yml')
const alertNames = alerts.map(({ alert = '' }) => alert)
const dashboard = JSON.parse(read('deploy/grafana/dashboards/ev-availability-proxy.json')) as Dashboard
const panels = dashboard.panels.filter(({ type }) => type !== 'row')
const runbooks = read('docs/runbooks.md')
const alertSections = runbooks.split(/^## Alerts\n/m)[1] ?? ''
const guides = ['deploy', 'size', 'clients', 'runbooks', 'upgrade', 'scaling']
  .map((name) => read(`docs/${name}.md`))
  .join('\n')
const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}
const prometheus = parse(read('deploy/prometheus/prometheus.yml')) as {
  global: { scrape_interval: string }
  rule_files: string[]
  scrape_configs: { job_name: string; dns_sd_configs?: { names: string[]; port: number }[] }[]
}

/** The code blocks of a Markdown text in this language. */
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^\\1\`\`\``, 'gm'))].map(
    ([, indent = '', code = '']) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  )

/** What Grafana puts in the place of its variables, or may. */
const filled = (expr: string) =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'a').replaceAll('$instance', 'b')

/** Every query, by where it stands. */
const queries: readonly (readonly [where: string, expr: string])[] = [
  ...[...recording, ...alerts].map(({ record, alert, expr }) => [record ?? alert ?? '', expr] as const),
  ...panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, refId }) => [`panel ${title}, ${refId}`, filled(expr)] as const),
  ),
  ...dashboard.annotations.list.flatMap(({ expr }) =>
    expr === undefined ? [] : [['an annotation', filled(expr)] as const],
  ),
  ...blocks(runbooks, 'promql').map((expr, i) => [`query ${i + 1} of runbooks.md`, expr] as const),
]

const OPERATORS = new Set(['and', 'or', 'unless', 'offset', 'bool', 'group_left', 'group_right'])

/** The names of the metrics in a query. */
function metricsIn(expr: string): string[] {
  const bare = expr
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]|"[^"]*"/g, ' ')
    .replaceAll(/\b(by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)/g, ' ')
  return [...bare.matchAll(/(?<![\w.:])[a-z_:][\w:]*(?!\s*\()\b/gi)]
    .map(([name]) => name)
    .filter((name) => !OPERATORS.has(name) && !new RegExp(`\\b${name}\\s*\\(`).test(bare))
}

/** The selectors of a query, each matcher with what it asks for. */
function matchersIn(expr: string) {
  return [...expr.matchAll(/([a-z_:][\w:]*)\{([^}]*)\}/gi)].flatMap(([, metric = '', inner = '']) =>
    [...inner.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].map(
      ([, label = '', operator = '', value = '']) => ({ metric, label, operator, value }),
    ),
  )
}

/** What a running service exposes: every series name with the values that its labels have. */
async function exposed(t: Parameters<typeof startService>[0]) {
  const { askAdmin } = await startService(t, { env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '5' } })
  const { text } = await askAdmin('/metrics')
  const known = new Map<string, Map<string, Set<string>>>()
  const note = (name: string, labels: Readonly<Record<string, string>>) => {
    const values = known.get(name) ?? new Map<string, Set<string>>()
    known.set(name, values)
    for (const [label, value] of Object.entries(labels)) {
      values.set(label, (values.get(label) ?? new Set()).add(value))
    }
  }
  for (const { samples } of readExposition(text).families.values()) {
    for (const { name, labels } of samples) note(name, labels)
  }
  // There only while REDIS_URL is set.
  for (const result of ['hit', 'miss', 'error']) note('evproxy_shared_cache_requests_total', { result })
  note('evproxy_shared_cache_up', {})
  // Not there before the first garbage collection.
  for (const suffix of ['bucket', 'sum', 'count'])
    note(`nodejs_gc_duration_seconds_${suffix}`, { kind: 'minor' })
  return { text, known }
}

const BUILT_IN = new Set(['up', 'ALERTS'])
const TARGET_LABELS = new Set(['job', 'instance'])

/** A histogram's series are one metric. */
const family = (name: string) => name.replace(/_(bucket|sum|count)$/, '')

await t.test('queries', async (t) => {
  const { known } = await exposed(t)
  const recorded = recording.map(({ record = '' }) => record)
  const names = new Set([...known.keys(), ...recorded, ...BUILT_IN])

  await t.test('are about metrics that the service exposes', async (t) => {
    for (const [where, expr] of queries) {
      const used = metricsIn(expr)
      t.ok(used.length > 0 || expr.startsWith('vector('), `${where} has a metric`)
      for (const name of used) t.ok(names.has(name), `${where}: ${name}`)
    }
  })

  await t.test('ask for labels and values that there are', async (t) => {
    for (const [where, expr] of queries) {
      for (const { metric, label, operator, value } of matchersIn(expr)) {
        if (TARGET_LABELS.has(label) || BUILT_IN.has(metric)) continue
        const values = [...(known.get(metric)?.get(label) ?? [])]
        const asked = operator.endsWith('~') ? value.split('|') : [value]
        for (const one of asked) {
          const pattern = new RegExp(`^(?:${one.replaceAll('\\\\', '\\')})$`)
          t.ok(
            values.some((known) => (operator.endsWith('~') ? pattern.test(known) : known === one)),
            `${where}: ${metric} has ${label} ${one}`,
          )
        }
      }
    }
  })

  await t.test('of recording rules are used', async (t) => {
    const used = new Set([...recording, ...alerts].flatMap(({ expr }) => metricsIn(expr)))
    for (const name of recorded) t.ok(used.has(name), name)
  })

  await t.test('show every metric of ours on the dashboard', async (t) => {
    const shown = new Set(
      panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => metricsIn(filled(expr)))),
    )
    const families = new Set([...shown].map(family))
    for (const name of known.keys()) {
      if (name.startsWith('evproxy_')) t.ok(families.has(family(name)), name)
    }
  })
})

await t.test('alerts', async (t) => {
  await t.test('each alert has its section in runbooks.md, and each section its alert', async (t) => {
    const paragraphs = [...alertSections.matchAll(/^### (\w+)\n\n(\w+)\./gm)].map(
      ([, name, severity]) => `${name} ${severity}`,
    )
    const named = alerts.map(({ alert, labels }) => `${alert} ${labels?.['severity']}`)
    t.strictSame(new Set(paragraphs), new Set(named))
    t.equal(paragraphs.length, named.length, 'no paragraph twice')
    t.strictSame(
      [...alertSections.matchAll(/^### /gm)].length,
      named.length,
      'each begins with how bad it is',
    )
    for (const { alert = '', annotations } of alerts) {
      t.equal(annotations?.['runbook_url'], `docs/runbooks.md#${alert.toLowerCase()}`)
    }
  })

  await t.test('each says how bad it is, what it is about, and by which value', async (t) => {
    t.equal(new Set(alertNames).size, alerts.length, 'no name twice')
    for (const { alert = '', labels, annotations } of alerts) {
      t.match(alert, /^EvProxy[A-Z]\w+$/)
      t.match(labels?.['severity'], /^(critical|warning)$/, alert)
      t.ok(annotations?.['summary'], alert)
      t.match(annotations?.['description'], alert === 'EvProxyAbsent' ? /\S/ : /\$value/, alert)
    }
  })

  await t.test('each is tested: that it fires, and that it does not a step earlier', async (t) => {
    type Case = { alertname: string; exp_alerts: unknown[] }
    const files = readdirSync(path('deploy/prometheus/tests'))
    const cases = files.flatMap((file) =>
      (
        parse(read(`deploy/prometheus/tests/${file}`)) as { tests: { alert_rule_test?: Case[] }[] }
      ).tests.flatMap(({ alert_rule_test: cases = [] }) => cases),
    )
    for (const name of alertNames) {
      const own = cases.filter(({ alertname }) => alertname === name)
      t.ok(
        own.some(({ exp_alerts: expected }) => expected.length > 0),
        `${name} fires`,
      )
      t.ok(
        own.some(({ exp_alerts: expected }) => expected.length === 0),
        `${name} is quiet`,
      )
    }
    for (const { alertname } of cases) t.ok(alertNames.includes(alertname), alertname)
  })
})

await t.test('the dashboard', async (t) => {
  await t.test('is of a form that Grafana 11 and 12 read, and is imported as it is', async (t) => {
    t.equal(dashboard.uid, 'ev-availability-proxy')
    t.ok(dashboard.title)
    t.ok(dashboard.schemaVersion >= 39 && dashboard.schemaVersion <= 41)
    t.notHas(dashboard, { __inputs: [] })
    const today = new Set(['row', 'stat', 'timeseries', 'state-timeline', 'table'])
    for (const { type, title } of dashboard.panels) t.ok(today.has(type), `${title}: ${type}`)
  })

  await t.test('fits the schema that Grafana publishes', async (t) => {
    t.equal(await schemaFaults(dashboard), '')
    const panel = panels.find(({ type }) => type === 'timeseries')
    const slipped = { ...panel, options: { legend: { displayMode: 'lst' } } }
    t.match(await schemaFaults({ ...dashboard, panels: [slipped] }), /lst/, 'a slip would be told')
  })

  await t.test('has rows for what one wants to know', async (t) => {
    const rows = dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)
    t.equal(rows.length, 6)
    t.strictSame(rows.slice(1), ['Latency', 'Upstream', 'Cache', 'Quota', 'Process'])
  })

  await t.test('has panels that say what they are', async (t) => {
    t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length, 'no id twice')
    for (const { title, description, datasource, targets = [], fieldConfig } of panels) {
      t.ok(title && description, `${title} is explained`)
      t.strictSame(datasource, { type: 'prometheus', uid: '${datasource}' }, title)
      t.ok(targets.length > 0, `${title} asks for something`)
      t.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title)
      for (const target of targets) t.equal(target.datasource.uid, '${datasource}', title)
      t.ok(fieldConfig?.defaults.unit, `${title} has a unit`)
      const [first, ...rest] = (fieldConfig?.defaults.thresholds?.steps ?? []).map(({ value }) => value)
      t.equal(first, null, `${title} has thresholds from the bottom`)
      t.strictSame(
        rest,
        rest.toSorted((a, b) => Number(a) - Number(b)),
        `${title}: rising`,
      )
    }
  })

  await t.test('has panels side by side, none upon another', async (t) => {
    const taken = new Map<string, string>()
    for (const { title, gridPos } of dashboard.panels) {
      t.ok(gridPos.x + gridPos.w <= 24, `${title} is inside`)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          const before = taken.get(`${x} ${y}`)
          if (before !== undefined) t.fail(`${title} lies on ${before}`)
          taken.set(`${x} ${y}`, title)
        }
      }
    }
  })

  await t.test('uses variables that it has, and never mixes jobs', async (t) => {
    const variables = dashboard.templating.list
    const names = new Set([...variables.map(({ name }) => name), '__rate_interval'])
    const exprs = panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => [title, expr] as const),
    )
    for (const [title, expr] of exprs) {
      for (const [, name = ''] of expr.matchAll(/\$\{?(\w+)/g)) t.ok(names.has(name), `${title}: ${name}`)
      for (const { metric } of matchersIn(expr)) {
        const jobs = matchersIn(expr).filter((one) => one.metric === metric && one.label === 'job')
        t.ok(metric === 'ALERTS' || jobs.some(({ value }) => value === '$job'), `${title}: ${metric} by job`)
      }
      const bare = metricsIn(filled(expr)).filter((name) => !filled(expr).includes(`${name}{`))
      t.strictSame(bare, [], `${title} selects`)
    }
    t.ok(variables.some(({ name, type }) => name === 'datasource' && type === 'datasource'))
    for (const { definition = '' } of variables) {
      if (definition !== '') t.match(definition, 'label_values(evproxy_build_info')
    }
  })
})

/** The address of the host that each port is published on. */
const addresses = (service: Service | undefined) => service?.ports?.map((port) => port.split(':')[0])

/** What of this folder a container sees, where, and how. */
const mounts = (service: Service | undefined) =>
  (service?.volumes ?? [])
    .map((volume) => volume.split(':') as [from: string, to: string, mode?: string])
    .filter(([from]) => from.startsWith('./'))

/** How many of the proxy are started; compose puts in `${NAME:+text}` like this. */
const instances = (env: Record<string, string>) =>
  Number(
    compose.services['proxy']?.deploy?.replicas.replaceAll(
      /\$\{(\w+):\+([^}]*)\}/g,
      (_, name: string, text: string) => (env[name] ? text : ''),
    ),
  )

await t.test('docker compose --profile observability', async (t) => {
  const { prometheus: server, grafana } = compose.services

  await t.test('adds Prometheus and Grafana, pinned, and on loopback', async (t) => {
    const added = Object.entries(compose.services).filter(([, { profiles }]) =>
      profiles?.includes('observability'),
    )
    t.strictSame(
      added.map(([name]) => name),
      ['prometheus', 'grafana'],
    )
    for (const [name, service] of added) {
      t.match(service.image, /^[a-z]+\/[a-z]+:v?\d+\.\d+/, name)
      t.strictSame(addresses(service), ['127.0.0.1'])
    }
  })

  await t.test('gives them files that exist, and cannot be written', async (t) => {
    for (const [from, , mode] of [...mounts(server), ...mounts(grafana)]) {
      t.ok(existsSync(path(from)), from)
      t.equal(mode, 'ro', from)
    }
    for (const pattern of prometheus.rule_files) t.equal(pattern, 'rules/*.yml')
    t.ok(mounts(server).some(([from, to]) => from.endsWith('/rules') && to === '/etc/prometheus/rules'))
  })

  await t.test('has Prometheus scrape the admin port of every proxy, each in a job of its own', async (t) => {
    const scraped = prometheus.scrape_configs.flatMap(({ dns_sd_configs: found = [] }) => found)
    t.strictSame(
      scraped.flatMap(({ names }) => names),
      Object.keys(compose.services).filter((name) => name.startsWith('proxy')),
    )
    for (const { port } of scraped) t.equal(String(port), SETTINGS.ADMIN_PORT.default)
  })

  await t.test('has Grafana find Prometheus and the dashboard', async (t) => {
    const folder = 'deploy/grafana/provisioning'
    const { datasources } = parse(read(`${folder}/datasources/prometheus.yml`)) as {
      datasources: { uid: string; type: string; url: string; jsonData: { timeInterval: string } }[]
    }
    t.equal(datasources.length, 1)
    t.match(datasources[0], { type: 'prometheus', url: 'http://prometheus:9090' })
    t.equal(datasources[0]?.jsonData.timeInterval, prometheus.global.scrape_interval)
    const { providers } = parse(read(`${folder}/dashboards/ev-availability-proxy.yml`)) as {
      providers: { options: { path: string } }[]
    }
    const target = mounts(grafana).find(([from]) => from.endsWith('/dashboards'))?.[1]
    t.equal(providers[0]?.options.path, target)
    t.equal(
      grafana?.environment?.['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'],
      `${target}/ev-availability-proxy.json`,
    )
  })

  await t.test('lets everybody look and nobody log in', async (t) => {
    t.match(grafana?.environment, {
      GF_AUTH_ANONYMOUS_ENABLED: 'true',
      GF_AUTH_ANONYMOUS_ORG_ROLE: 'Viewer',
      GF_AUTH_BASIC_ENABLED: 'false',
      GF_AUTH_DISABLE_LOGIN_FORM: 'true',
      GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION: 'true',
    })
  })
})

await t.test('docker compose starts the proxy with a key, and none that could only fail', async (t) => {
  t.equal(instances({ TOMTOM_API_KEY: 'x' }), 1)
  t.equal(instances({ TOMTOM_API_KEY_FILE: './key.txt' }), 1)
  t.equal(instances({}), 0)
  t.equal(instances({ TOMTOM_API_KEY: '' }), 0, 'an empty key is none')
  for (const name of ['simulator', 'proxy-demo']) {
    t.equal(compose.services[name]?.restart, 'unless-stopped', `${name} needs no key`)
    t.equal(compose.services[name]?.deploy, undefined, name)
  }
})

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: Record<string, unknown>
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
  readonly periodSeconds: number
  readonly failureThreshold: number
}

interface PodSpec {
  readonly terminationGracePeriodSeconds: number
  readonly automountServiceAccountToken: boolean
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly volumes: readonly { readonly name: string; readonly secret: { readonly secretName: string } }[]
  readonly containers: readonly {
    readonly env: readonly { readonly name: string; readonly value: string }[]
    readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
    readonly startupProbe: Probe
    readonly livenessProbe: Probe
    readonly readinessProbe: Probe
    readonly resources: Readonly<Record<string, Readonly<Record<string, string>>>>
    readonly securityContext: Readonly<Record<string, unknown>>
    readonly volumeMounts: readonly { readonly mountPath: string; readonly readOnly: boolean }[]
  }[]
}

await t.test('the Kubernetes example', async (t) => {
  const documents = parseAllDocuments(read('deploy/kubernetes/ev-availability-proxy.yaml'))
  const manifests = documents.map((document) => document.toJS() as Manifest)
  const spec = (kind: string) => manifests.find((one) => one.kind === kind)?.spec ?? {}
  const pod = (spec('Deployment')['template'] as { spec: PodSpec }).spec
  const container = pod.containers[0] as PodSpec['containers'][number]
  const env = Object.fromEntries(container.env.map(({ name, value }) => [name, value]))

  await t.test('is YAML, and has no secret in it', async (t) => {
    for (const { errors, warnings } of documents) t.strictSame([...errors, ...warnings], [])
    t.strictSame(
      manifests.map(({ kind }) => kind),
      ['Deployment', 'Service', 'NetworkPolicy', 'PodMonitor'],
    )
    for (const { metadata } of manifests) t.equal(metadata.name, 'ev-availability-proxy')
  })

  await t.test('sets settings that there are, to values that they take', async (t) => {
    for (const [name, value] of Object.entries(env)) {
      t.ok(name in SETTINGS, name)
      t.not(SETTINGS[name as keyof typeof SETTINGS].parse(value), undefined, `${name}=${value}`)
    }
    const mount = container.volumeMounts[0]
    t.ok(env['TOMTOM_API_KEY_FILE']?.startsWith(`${mount?.mountPath}/`))
    t.equal(mount?.readOnly, true)
    t.notHas(mount, { subPath: '' })
  })

  await t.test('probes and scrapes the admin port, and offers the other alone', async (t) => {
    const port = (name: string) => container.ports.find((one) => one.name === name)?.containerPort
    t.equal(String(port('http')), SETTINGS.PORT.default)
    t.equal(String(port('admin')), SETTINGS.ADMIN_PORT.default)
    t.strictSame(container.startupProbe.httpGet, { path: '/livez', port: 'admin' })
    t.strictSame(container.livenessProbe.httpGet, { path: '/livez', port: 'admin' })
    t.strictSame(container.readinessProbe.httpGet, { path: '/readyz', port: 'admin' })
    t.match(spec('PodMonitor'), { podMetricsEndpoints: [{ port: 'admin', path: '/metrics' }] })
    t.match(spec('Service'), { ports: [{ targetPort: 'http' }] })
    t.equal((spec('Service')['ports'] as unknown[]).length, 1)
  })

  await t.test('drains for long enough, and is given the time', async (t) => {
    const delayMs = SETTINGS.DRAIN_DELAY.parse(env['DRAIN_DELAY'] ?? '') ?? 0
    const timeoutMs = SETTINGS.DRAIN_TIMEOUT.parse(env['DRAIN_TIMEOUT'] ?? '') ?? 0
    const { periodSeconds, failureThreshold } = container.readinessProbe
    t.ok(delayMs > periodSeconds * failureThreshold * 1_000, 'until it counts as not ready')
    t.ok(timeoutMs > delayMs, 'the delay is part of it')
    t.ok(pod.terminationGracePeriodSeconds * 1_000 > timeoutMs + 1_000, 'before it is killed')
  })

  await t.test('runs without privileges, and with bounds', async (t) => {
    t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: 1000 })
    t.match(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    t.equal(pod.automountServiceAccountToken, false)
    t.ok(container.resources['requests']?.['memory'] && container.resources['limits']?.['memory'])
    t.strictSame(spec('NetworkPolicy')['policyTypes'], ['Ingress', 'Egress'])
  })
})

await t.test('the how-to pages', async (t) => {
  await t.test('has YAML that is YAML, with settings that there are', async (t) => {
    const examples = blocks(guides, 'yaml')
    t.ok(examples.length > 0)
    for (const text of examples) {
      const { env = [] } = parse(text) as { env?: { name: string }[] }
      for (const { name } of env) t.ok(name in SETTINGS, name)
    }
  })

  await t.test('names settings that there are', async (t) => {
    const ofCompose = [...read('docker-compose.yml').matchAll(/\$\{(\w+)/g)].map(([, name]) => name)
    const known = new Set<string | undefined>([
      ...Object.keys(SETTINGS),
      ...ofCompose,
      'NODE_OPTIONS',
      'NODE_EXTRA_CA_CERTS',
      'EX_CONFIG',
    ])
    for (const [, name = ''] of guides.matchAll(/`([A-Z]+(?:_[A-Z]+)*_[A-Z]+)(?:=[^`]*)?`/g)) {
      t.ok(known.has(name), name)
    }
  })

  await t.test('runbooks name panels that the dashboard has', async (t) => {
    const named = [...alertSections.matchAll(/(?<!\*)\*([A-Z][^*]+)\*/g)].map(([, title = '']) => title)
    const missing = named.filter((title) => !panels.some((panel) => panel.title.startsWith(title)))
    t.strictSame(missing, [])
  })
})

await t.test('promtool', async (t) => {
  const script = path('scripts/check-prometheus.sh')
  const skip = lacking('bash', 'promtool')

  await t.test('checks configuration, rules, what the rules do, and a scrape', { skip }, async (t) => {
    const { text } = await exposed(t)
    const { code, output } = await run('bash', [script, '-'], text)
    t.equal(code, 0, output)
    t.match(output, 'the scrape is in order')
  })

  await t.test('reads every query of the dashboard and of runbooks.md', { skip }, async (t) => {
    const rules = queries.map(([, expr], i) => ({ record: `query_${i}`, expr }))
    const file = join(mkdtempSync(join(tmpdir(), 'queries-')), 'rules.yml')
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'queries', rules }] }))
    const { code, output } = await run('promtool', ['check', 'rules', file])
    t.equal(code, 0, output)
  })

  for (const [name, text] of Object.entries({
    'a scrape that is none': 'evproxy_requests_total{ 1\n',
    'a scrape without a metric of ours': '# HELP up It is.\n# TYPE up gauge\nup 1\n',
    'a metric of ours against the conventions': '# TYPE evproxy_requests counter\nevproxy_requests 1\n',
  })) {
    await t.test(`finds fault with ${name}`, { skip }, async (t) => {
      const file = join(mkdtempSync(join(tmpdir(), 'scrape-')), 'scrape.txt')
      writeFileSync(file, text)
      // The rules were tested above; here the script gets a promtool that leaves them out.
      const { code, output } = await run('bash', [script, file], '', withPromtool('[ "$1" = test ]'))
      t.equal(code, 1, output)
      t.match(output, 'the scrape')
    })
  }

  await t.test('is missed loudly', async (t) => {
    const { code, output } = await run('/bin/bash', [script], '', { PATH: '/nowhere' })
    t.equal(code, 1)
    t.match(output, 'promtool is missing')
  })
})

/** A PATH in which promtool does nothing, and that well, where the condition holds. */
function withPromtool(isSkipped: string): NodeJS.ProcessEnv {
  const folder = mkdtempSync(join(tmpdir(), 'promtool-'))
  const real = spawnSync('sh', ['-c', 'command -v promtool'], { encoding: 'utf8' }).stdout.trim()
  symlinkSync(real, join(folder, 'real'))
  writeFileSync(join(folder, 'promtool'), `#!/bin/sh\n${isSkipped} || exec ${folder}/real "$@"\n`, {
    mode: 0o755,
  })
  return { PATH: `${folder}:${process.env['PATH']}` }
}

function run(
  command: string,
  args: readonly string[],
  input = '',
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { env, timeout: 110_000 }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, output: stdout + stderr })
    })
    child.stdin?.on('error', () => {}) // it may end without having read
    child.stdin?.end(input)
  })
}
