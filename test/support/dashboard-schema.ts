import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tsc } from './process.ts'

/** Inside the checkout, so that the types resolve; the package does not export those of panels. */
const PLACE = fileURLToPath(new URL('../../.tap/', import.meta.url))
const TYPES = '../../node_modules/@grafana/schema/dist/types/raw/composable'

/** The folder of the types of a panel, by panel type. */
const PANELS: Record<string, string> = {
  stat: 'stat',
  'state-timeline': 'statetimeline',
  table: 'table',
  timeseries: 'timeseries',
}

interface Panel {
  readonly type: string
  readonly options?: unknown
  readonly fieldConfig?: { readonly defaults: { readonly custom?: unknown } }
}

/** Grafana's types have enums and complete options; a document has enum values and only options that are not defaults. */
const LOOSE = `
type Loose<T> = T extends string ? \`\${T}\` : T extends number ? number : T extends boolean ? T
  : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]: Loose<T[K]> } : T
type Some<T> = T extends object ? { [K in keyof T]?: Some<T[K]> } : T
`

/**
 * The compiler's errors for a dashboard against Grafana's published types; empty if there are none. Annotations and
 * variables are left out: their types cover only what all data sources have in common.
 */
export async function schemaProblems(dashboard: { readonly panels: readonly object[] }): Promise<string> {
  mkdirSync(PLACE, { recursive: true })
  const dir = mkdtempSync(join(PLACE, 'dashboard-'))
  try {
    const file = join(dir, 'dashboard.ts')
    writeFileSync(file, sourceOf(dashboard))
    const flags = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'esnext',
      '--target',
      'es2022',
    ]
    await tsc(...flags, '--moduleResolution', 'bundler', file)
    return ''
  } catch (error) {
    return (error as { stdout?: string }).stdout ?? String(error)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

function sourceOf(dashboard: { readonly panels: readonly object[] }): string {
  const panels = (dashboard.panels as readonly Panel[]).filter(({ type }) => type !== 'row')
  const { annotations: _, templating: __, ...rest } = dashboard as Record<string, unknown>
  const imports = [...new Set(panels.map(({ type }) => type))].map(
    (type) => `import type * as ${PANELS[type]} from '${TYPES}/${PANELS[type]}/panelcfg/x/types.gen'`,
  )
  const parts = panels.flatMap(({ type, options = {}, fieldConfig }, i) => {
    const custom = fieldConfig?.defaults.custom
    const known = `const options${i}: Some<Loose<${PANELS[type]}.Options>> = ${JSON.stringify(options)}`
    if (custom === undefined) return [known]
    return [known, `const custom${i}: Some<Loose<${PANELS[type]}.FieldConfig>> = ${JSON.stringify(custom)}`]
  })
  return [
    "import type { Dashboard } from '@grafana/schema'",
    ...imports,
    LOOSE,
    `const dashboard: Loose<Dashboard> = ${JSON.stringify(rest)}`,
    ...parts,
    'export {}',
  ].join('\n')
}
