import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { settingsIn } from '../src/config/schema.ts'
import { SETTINGS } from '../src/config/settings.ts'
import { schemaProblems } from './support/dashboard-schema.ts'
import { readExposition } from './support/exposition.ts'
import { missing } from './support/requirements.ts'
import { startService } from './support/service.ts'
import { temporaryFolder } from './support/temporary-folder.ts'

const settings = new Map(settingsIn(SETTINGS).map((setting) => [setting.name, setting]))
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

/** The code blocks of a language in a Markdown text. */
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^\\1\`\`\``, 'gm'))].map(
    ([, indent = '', code = '']) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  )

/** A query with Grafana's variables replaced by example values. */
const filled = (expr: string) =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'a').replaceAll('$instance', 'b')

/** Every query with the place where it is used. */
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

/** The recording rule whose label is the URL of the runbooks. */
const RUNBOOKS = 'evproxy:runbooks:info'

/** A time of a test of the rules, such as `32m15s`, as the time since 30m, when incidents begin. */
function sinceIncident(time: string): string {
  const [, minutes = '0', seconds] = /^(\d+)m(?:(\d+)s)?$/.exec(time) ?? []
  return `${Number(minutes) - 30} min${seconds === undefined ? '' : ` ${seconds} s`}`
}

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

/** The label matchers of all selectors in a query. */
function matchersIn(expr: string) {
  return [...expr.matchAll(/([a-z_:][\w:]*)\{([^}]*)\}/gi)].flatMap(([, metric = '', inner = '']) =>
    [...inner.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].map(
      ([, label = '', operator = '', value = '']) => ({ metric, label, operator, value }),
    ),
  )
}

/** The metrics of a running service: every series name with its labels and their values. */
async function exposed(t: Parameters<typeof startService>[0]) {
  const { requestAdmin } = await startService(t, {
    env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '5' },
  })
  const { text } = await requestAdmin('/metrics')
  const known = new Map<string, Map<string, Set<string>>>()
  const add = (name: string, labels: Readonly<Record<string, string>>) => {
    const values = known.get(name) ?? new Map<string, Set<string>>()
    known.set(name, values)
    for (const [label, value] of Object.entries(labels)) {
      values.set(label, (values.get(label) ?? new Set()).add(value))
    }
  }
  for (const { samples } of readExposition(text).families.values()) {
    for (const { name, labels } of samples) add(name, labels)
  }
  // Exists only with a limit of clients.
  for (const limit of ['rate', 'in_flight']) add('evproxy_client_limited_total', { limit })
  add('evproxy_client_limited_requests_total', { client: 'none' })
  // Exist only with REDIS_URL.
  for (const result of ['hit', 'miss', 'error']) add('evproxy_shared_cache_requests_total', { result })
  add('evproxy_shared_cache_up', {})
  // Exists only with a quota, after the first answers.
  add('evproxy_cache_estimated_correct_ratio', {})
  // Exists only after the first garbage collection.
  for (const suffix of ['bucket', 'sum', 'count'])
    add(`nodejs_gc_duration_seconds_${suffix}`, { kind: 'minor' })
  return { text, known }
}

const BUILT_IN = new Set(['up', 'ALERTS'])
const TARGET_LABELS = new Set(['job', 'instance'])

/** The metric of a histogram's series. */
const family = (name: string) => name.replace(/_(bucket|sum|count)$/, '')

await t.test('queries of rules, dashboard and runbooks.md', async (t) => {
  const { known } = await exposed(t)
  const recorded = recording.map(({ record = '' }) => record)
  const names = new Set([...known.keys(), ...recorded, ...BUILT_IN])

  await t.test('every query uses metrics that the service exposes', async (t) => {
    const used = queries.map(([where, expr]) => [where, expr, metricsIn(expr)] as const)
    const without = used.filter(([, expr, metrics]) => metrics.length === 0 && !expr.startsWith('vector('))
    t.strictSame(without, [])
    const unknown = used.flatMap(([where, , metrics]) =>
      metrics.filter((name) => !names.has(name)).map((name) => `${where}: ${name}`),
    )
    t.strictSame(unknown, [])
  })

  await t.test('every label matcher of a query matches a value that exists', async (t) => {
    const unmatched = queries.flatMap(([where, expr]) =>
      matchersIn(expr)
        .filter(({ metric, label }) => !TARGET_LABELS.has(label) && !BUILT_IN.has(metric))
        .flatMap(({ metric, label, operator, value }) => {
          const values = [...(known.get(metric)?.get(label) ?? [])]
          const isRegex = operator.endsWith('~')
          const matches = (one: string) => {
            const pattern = new RegExp(`^(?:${one.replaceAll('\\\\', '\\')})$`)
            return values.some((known) => (isRegex ? pattern.test(known) : known === one))
          }
          return (isRegex ? value.split('|') : [value])
            .filter((one) => !matches(one))
            .map((one) => `${where}: ${metric}{${label}=${one}}`)
        }),
    )
    t.strictSame(unmatched, [])
  })

  await t.test('every recording rule is used by a rule or alert', async (t) => {
    const used = new Set([...recording, ...alerts].flatMap(({ expr }) => metricsIn(expr)))
    t.strictSame(
      recorded.filter((name) => !used.has(name) && name !== RUNBOOKS),
      [],
    )
  })

  await t.test('every metric of the service is on the dashboard', async (t) => {
    const shown = panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => metricsIn(filled(expr))))
    const families = new Set(shown.map(family))
    const missing = [...known.keys()].filter(
      (name) => name.startsWith('evproxy_') && !families.has(family(name)),
    )
    t.strictSame(missing, [])
  })
})

await t.test('alerts', async (t) => {
  await t.test('every alert has a section in runbooks.md, and every section has its alert', async (t) => {
    const paragraphs = [...alertSections.matchAll(/^### (\w+)\n\n(\w+)\./gm)].map(
      ([, name, severity]) => `${name} ${severity}`,
    )
    const named = alerts.map(({ alert, labels }) => `${alert} ${labels?.['severity']}`)
    t.strictSame(new Set(paragraphs), new Set(named))
    t.equal(paragraphs.length, named.length, 'no section twice')
    t.equal([...alertSections.matchAll(/^### /gm)].length, named.length, 'each begins with its severity')
  })

  await t.test('every runbook link and every link between alerts has its section', async (t) => {
    const url = recording.find(({ record }) => record === RUNBOOKS)?.labels?.['url']
    t.match(url, /^https:\/\/\S+\/runbooks\.md$/)
    const base = `{{ with query "${RUNBOOKS}" }}{{ . | first | label "url" }}{{ end }}`
    t.strictSame(
      alerts.map(({ annotations }) => annotations?.['runbook_url']),
      alertNames.map((name) => `${base}#${name.toLowerCase()}`),
    )
    const anchors = new Set(alertNames.map((name) => name.toLowerCase()))
    const dead = [...alertSections.matchAll(/\]\(#(\w+)\)/g)].filter(
      ([, anchor = '']) => !anchors.has(anchor),
    )
    t.strictSame(dead, [])
  })

  await t.test(
    'every alert has a name, a severity, a summary and a description with its value',
    async (t) => {
      t.equal(new Set(alertNames).size, alerts.length, 'no name twice')
      const incomplete = alerts.filter(
        ({ alert = '', labels, annotations }) =>
          !/^EvProxy[A-Z]\w+$/.test(alert) ||
          !/^(critical|warning)$/.test(labels?.['severity'] ?? '') ||
          !annotations?.['summary'] ||
          !/\$value/.test(annotations['description'] ?? ''),
      )
      t.strictSame(incomplete, [])
    },
  )

  await t.test('every alert has a test in which it fires and one in which it does not', async (t) => {
    type Case = { alertname: string; exp_alerts: unknown[] }
    type File = { tests: { alert_rule_test?: Case[] }[] }
    const files = readdirSync(path('deploy/prometheus/tests'))
    const cases = files
      .map((file) => parse(read(`deploy/prometheus/tests/${file}`)) as File)
      .flatMap(({ tests }) => tests.flatMap(({ alert_rule_test: cases = [] }) => cases))
    const tested = (fires: boolean) =>
      new Set(
        cases
          .filter(({ exp_alerts: expected }) => expected.length > 0 === fires)
          .map(({ alertname }) => alertname),
      )
    t.strictSame(tested(true), new Set(alertNames))
    t.strictSame(tested(false), new Set(alertNames))
  })

  await t.test('the table of incidents in runbooks.md is that of the tests of the rules', async (t) => {
    interface Incident {
      readonly name: string
      readonly promql_expr_test: readonly {
        readonly eval_time: string
        readonly exp_samples: readonly { readonly labels: string }[]
      }[]
    }
    const { tests } = parse(read('deploy/prometheus/tests/incidents.yml')) as { tests: Incident[] }
    const [, table = ''] = /<!-- incidents -->\n([^]*)<!-- \/incidents -->/.exec(runbooks) ?? []
    const rows = [...table.matchAll(/^\| ([^|]+) \| (EvProxy[^|]+) \| [^|]+ \|$/gm)]
    t.strictSame(
      rows.map(([, name, fired]) => [name, fired]),
      tests.map(({ name, promql_expr_test: moments }) => {
        const after = new Map<string, string>()
        for (const { eval_time: at, exp_samples: samples } of moments) {
          const alerts = samples.map(({ labels }) => /alertname="(\w+)"/.exec(labels)?.[1] ?? '')
          for (const alert of alerts) if (!after.has(alert)) after.set(alert, sinceIncident(at))
        }
        return [name, [...after].map(([alert, time]) => `${alert} ${time}`).join(' · ')]
      }),
    )
  })
})

await t.test('the dashboard', async (t) => {
  await t.test('the dashboard has a schema version and panel types of Grafana 11 and 12', async (t) => {
    t.equal(dashboard.uid, 'ev-availability-proxy')
    t.ok(dashboard.title)
    t.ok(dashboard.schemaVersion >= 39 && dashboard.schemaVersion <= 41)
    t.notHas(dashboard, { __inputs: [] })
    t.strictSame(
      new Set(dashboard.panels.map(({ type }) => type)),
      new Set(['row', 'stat', 'timeseries', 'state-timeline', 'table']),
    )
  })

  await t.test('the dashboard is valid against the schema that Grafana publishes', async (t) => {
    t.equal(await schemaProblems(dashboard), '')
    const panel = panels.find(({ type }) => type === 'timeseries')
    const invalid = { ...panel, options: { legend: { displayMode: 'lst' } } }
    t.match(await schemaProblems({ ...dashboard, panels: [invalid] }), /lst/, 'an invalid panel is detected')
  })

  await t.test('the dashboard has a row for each topic', async (t) => {
    const rows = dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)
    t.strictSame(rows, ['Overview', 'Latency', 'Upstream', 'Cache', 'Quota', 'Process', 'Live updates'])
  })

  await t.test('every panel has an id of its own, a title, a description, a unit and a query', async (t) => {
    t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    const incomplete = panels.filter(
      ({ title, description, targets = [], fieldConfig }) =>
        !title ||
        !description ||
        !fieldConfig?.defaults.unit ||
        targets.length === 0 ||
        new Set(targets.map(({ refId }) => refId)).size < targets.length,
    )
    t.strictSame(incomplete, [])
  })

  await t.test('every panel and query uses the data source variable', async (t) => {
    const sources = panels.flatMap(({ datasource, targets = [] }) => [
      datasource?.uid,
      ...targets.map((target) => target.datasource.uid),
    ])
    t.strictSame(new Set(sources), new Set(['${datasource}']))
    t.strictSame(new Set(panels.map(({ datasource }) => datasource?.type)), new Set(['prometheus']))
  })

  await t.test('the thresholds of every panel rise from the lowest step', async (t) => {
    const steps = panels.map(({ fieldConfig }) =>
      (fieldConfig?.defaults.thresholds?.steps ?? []).map(({ value }) => value),
    )
    const isRising = ([first, ...rest]: (number | null)[]) =>
      first === null && rest.every((value, i) => i === 0 || Number(value) >= Number(rest[i - 1]))
    t.strictSame(
      steps.filter((values) => !isRising(values)),
      [],
    )
  })

  await t.test('the panels fit the grid and do not overlap', async (t) => {
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)} ${y + Math.floor(i / w)}`),
    )
    t.equal(new Set(cells).size, cells.length)
    t.ok(Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.x + gridPos.w)) <= 24)
  })

  await t.test('every query uses existing variables and selects its job', async (t) => {
    const variables = dashboard.templating.list
    const names = new Set([...variables.map(({ name }) => name), '__rate_interval'])
    const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    const unknown = exprs.filter((expr) =>
      [...expr.matchAll(/\$\{?(\w+)/g)].some(([, name = '']) => !names.has(name)),
    )
    t.strictSame(unknown, [], 'unknown variables')
    const acrossJobs = exprs.filter((expr) => {
      const matchers = matchersIn(expr)
      const withJob = matchers.filter(({ label, value }) => label === 'job' && value === '$job')
      const selected = new Set(withJob.map(({ metric }) => metric))
      return matchers.some(({ metric }) => metric !== 'ALERTS' && !selected.has(metric))
    })
    t.strictSame(acrossJobs, [], 'without a job')
    const bare = exprs.filter((expr) =>
      metricsIn(filled(expr)).some((name) => !filled(expr).includes(`${name}{`)),
    )
    t.strictSame(bare, [], 'without a selector')
  })

  await t.test('the variables are a data source and labels of evproxy_build_info', async (t) => {
    const variables = dashboard.templating.list
    t.ok(variables.some(({ name, type }) => name === 'datasource' && type === 'datasource'))
    const definitions = variables.flatMap(({ definition = '' }) => (definition === '' ? [] : [definition]))
    t.ok(definitions.every((definition) => definition.includes('label_values(evproxy_build_info')))
  })
})

/** The host address of each published port. */
const addresses = (service: Service | undefined) => service?.ports?.map((port) => port.split(':')[0])

/** The bind mounts of a container: from, to, mode. */
const mounts = (service: Service | undefined) =>
  (service?.volumes ?? [])
    .map((volume) => volume.split(':') as [from: string, to: string, mode?: string])
    .filter(([from]) => from.startsWith('./'))

/** The number of proxies that compose starts; it expands `${NAME:+text}` in the same way. */
const instances = (env: Record<string, string>) =>
  Number(
    compose.services['proxy']?.deploy?.replicas.replaceAll(
      /\$\{(\w+):\+([^}]*)\}/g,
      (_, name: string, text: string) => (env[name] ? text : ''),
    ),
  )

await t.test('the compose profile observability', async (t) => {
  const { prometheus: server, grafana } = compose.services

  await t.test('the profile adds Prometheus and Grafana, with pinned versions and on loopback', async (t) => {
    const added = Object.entries(compose.services).filter(([, { profiles }]) =>
      profiles?.includes('observability'),
    )
    t.strictSame(
      added.map(([name]) => name),
      ['prometheus', 'grafana'],
    )
    t.ok(added.every(([, { image }]) => /^[a-z]+\/[a-z]+:v?\d+\.\d+/.test(image)))
    t.strictSame(
      added.map(([, service]) => addresses(service)),
      [['127.0.0.1'], ['127.0.0.1']],
    )
  })

  await t.test('the mounted files exist and are read-only', async (t) => {
    const wrong = [...mounts(server), ...mounts(grafana)].filter(
      ([from, , mode]) => !existsSync(path(from)) || mode !== 'ro',
    )
    t.strictSame(wrong, [])
    t.strictSame(prometheus.rule_files, ['rules/*.yml'])
    t.ok(mounts(server).some(([from, to]) => from.endsWith('/rules') && to === '/etc/prometheus/rules'))
  })

  await t.test('Prometheus scrapes the admin port of every proxy, each in its own job', async (t) => {
    const scraped = prometheus.scrape_configs.flatMap(({ dns_sd_configs: found = [] }) => found)
    t.strictSame(
      scraped.flatMap(({ names }) => names),
      Object.keys(compose.services).filter((name) => name.startsWith('proxy')),
    )
    t.strictSame(
      scraped.map(({ port }) => String(port)),
      scraped.map(() => SETTINGS.admin.port.default),
    )
  })

  await t.test('Grafana is provisioned with Prometheus and the dashboard', async (t) => {
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

  await t.test('Grafana allows anonymous viewers and no login', async (t) => {
    t.match(grafana?.environment, {
      GF_AUTH_ANONYMOUS_ENABLED: 'true',
      GF_AUTH_ANONYMOUS_ORG_ROLE: 'Viewer',
      GF_AUTH_BASIC_ENABLED: 'false',
      GF_AUTH_DISABLE_LOGIN_FORM: 'true',
      GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION: 'true',
    })
  })
})

await t.test('docker compose starts the proxy only if a key is set', async (t) => {
  t.equal(instances({ TOMTOM_API_KEY: 'x' }), 1)
  t.equal(instances({ TOMTOM_API_KEY_FILE: './key.txt' }), 1)
  t.equal(instances({}), 0)
  t.equal(instances({ TOMTOM_API_KEY: '' }), 0, 'with an empty key')
  const { simulator, 'proxy-demo': demo } = compose.services
  t.strictSame([simulator?.restart, demo?.restart], ['unless-stopped', 'unless-stopped'])
  t.strictSame([simulator?.deploy, demo?.deploy], [undefined, undefined], 'the demo needs no key')
})

await t.test('the how-to pages', async (t) => {
  await t.test('the YAML examples are valid and use existing settings', async (t) => {
    const examples = blocks(guides, 'yaml')
    t.ok(examples.length > 0)
    const names = examples.flatMap((text) => {
      const { env = [] } = parse(text) as { env?: { name: string }[] }
      return env.map(({ name }) => name)
    })
    t.strictSame(
      names.filter((name) => !settings.has(name)),
      [],
    )
  })

  await t.test('the settings in the text of the how-to pages exist', async (t) => {
    const ofCompose = [...read('docker-compose.yml').matchAll(/\$\{(\w+)/g)].map(([, name]) => name)
    const known = new Set<string | undefined>([
      ...settings.keys(),
      ...ofCompose,
      'NODE_OPTIONS',
      'NODE_EXTRA_CA_CERTS',
      'HTTPS_PROXY',
      'HTTP_PROXY',
      'NO_PROXY',
      'EX_CONFIG',
    ])
    const named = [...guides.matchAll(/`([A-Z]+(?:_[A-Z]+)*_[A-Z]+)(?:=[^`]*)?`/g)]
    t.strictSame(
      named.filter(([, name]) => !known.has(name)),
      [],
    )
  })

  await t.test('the panels that the runbooks refer to exist', async (t) => {
    const named = [...alertSections.matchAll(/(?<!\*)\*([A-Z][^*]+)\*/g)].map(([, title = '']) => title)
    const unknown = named.filter((title) => !panels.some((panel) => panel.title.startsWith(title)))
    t.strictSame(unknown, [])
  })
})

await t.test('promtool', async (t) => {
  const script = path('scripts/check-prometheus.sh')
  const skip = missing('bash', 'promtool')

  await t.test(
    'check-prometheus.sh accepts the configuration, the rules, their tests and a scrape',
    { skip },
    async (t) => {
      const { text } = await exposed(t)
      const { code, output } = await run('bash', [script, '-'], text)
      t.equal(code, 0, output)
      t.match(output, 'the scrape is in order')
    },
  )

  await t.test('promtool parses every query of the dashboard and of runbooks.md', { skip }, async (t) => {
    const rules = queries.map(([, expr], i) => ({ record: `query_${i}`, expr }))
    const file = join(temporaryFolder(), 'rules.yml')
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'queries', rules }] }))
    const { code, output } = await run('promtool', ['check', 'rules', file])
    t.equal(code, 0, output)
  })

  for (const [name, text] of Object.entries({
    'an invalid scrape': 'evproxy_requests_total{ 1\n',
    'a scrape without a metric of the service': '# HELP up It is.\n# TYPE up gauge\nup 1\n',
    'a metric of the service against the conventions':
      '# TYPE evproxy_requests counter\nevproxy_requests 1\n',
  })) {
    await t.test(`check-prometheus.sh fails for ${name}`, { skip }, async (t) => {
      const file = join(temporaryFolder(), 'scrape.txt')
      writeFileSync(file, text)
      // The test above covers the rules; here the script gets a promtool that skips them.
      const { code, output } = await run('bash', [script, file], '', withPromtool('[ "$1" = test ]'))
      t.equal(code, 1, output)
      t.match(output, 'the scrape')
    })
  }

  await t.test('check-prometheus.sh fails without promtool', async (t) => {
    const { code, output } = await run('/bin/bash', [script], '', { PATH: '/nowhere' })
    t.equal(code, 1)
    t.match(output, 'promtool is missing')
  })
})

/** A PATH with a promtool that succeeds without doing anything if the shell condition holds. */
function withPromtool(isSkipped: string): NodeJS.ProcessEnv {
  const folder = temporaryFolder()
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
    child.stdin?.on('error', () => {}) // the child may exit without reading its input
    child.stdin?.end(input)
  })
}
