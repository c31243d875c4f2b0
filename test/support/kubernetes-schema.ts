import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tsc } from './process.ts'

export interface Resource {
  readonly apiVersion: string
  readonly kind: string
}

const PLACE = fileURLToPath(new URL('../../.tap/', import.meta.url))

/** Resources of the Prometheus operator, of which the manifests use these members only. */
const MONITORING = `
interface Metadata { name: string; namespace?: string; labels: Record<string, string> }
interface PodMonitor {
  apiVersion: 'monitoring.coreos.com/v1'; kind: 'PodMonitor'; metadata: Metadata
  spec: {
    selector: { matchLabels: Record<string, string> }
    podMetricsEndpoints: { port: string; path: string; interval: string }[]
  }
}
interface PrometheusRule {
  apiVersion: 'monitoring.coreos.com/v1'; kind: 'PrometheusRule'; metadata: Metadata
  spec: { groups: { name: string; rules: Rule[] }[] }
}
type Rule =
  | { record: string; expr: string }
  | { alert: string; expr: string; for?: string; keep_firing_for?: string; labels: Record<string, string>; annotations: Record<string, string> }
`

/** The folder of the package kubernetes-types, or null if it is not installed. */
function typesFolder(): string | null {
  try {
    return dirname(createRequire(import.meta.url).resolve('kubernetes-types/package.json'))
  } catch {
    return null
  }
}

/** The `skip` of tests that need the types of Kubernetes; in CI nothing is skipped. */
export const NO_KUBERNETES_TYPES =
  typesFolder() === null && process.env['CI'] !== 'true' ? 'kubernetes-types not installed' : false

/**
 * The compiler's errors for resources against the types that Kubernetes publishes; empty if there are none. Unknown
 * members are errors, as for `kubectl apply --validate=strict`, which needs a cluster.
 */
export async function resourceProblems(resources: readonly Resource[]): Promise<string> {
  mkdirSync(PLACE, { recursive: true })
  const dir = mkdtempSync(join(PLACE, 'kubernetes-'))
  try {
    const file = join(dir, 'resources.ts')
    writeFileSync(file, [MONITORING, ...resources.map(declaration), 'export {}'].join('\n'))
    const flags = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--module', 'esnext']
    const target = ['--target', 'es2022', '--moduleResolution', 'bundler']
    await tsc(...flags, ...target, file)
    return ''
  } catch (error) {
    return (error as { stdout?: string }).stdout ?? String(error)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

function declaration(resource: Resource, i: number): string {
  const { apiVersion, kind } = resource
  const [group = '', version = 'v1'] = apiVersion.includes('/') ? apiVersion.split('/') : ['core', apiVersion]
  const isMonitoring = group === 'monitoring.coreos.com'
  const module = join(typesFolder() ?? 'kubernetes-types', group.replace(/\..*/, ''), version)
  const type = isMonitoring ? kind : `import(${JSON.stringify(module)}).${kind}`
  return `const resource${i}: ${type} = ${JSON.stringify(resource)}`
}
