// Writes the rules and the dashboard in the form that the component deploy/kubernetes/components/monitoring needs:
// node scripts/kubernetes-monitoring.mjs. Kustomize reads no file outside of the component's folder.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'

const deploy = new URL('../deploy/', import.meta.url)
const component = new URL('kubernetes/components/monitoring/', deploy)

const HEADER = `# Written by scripts/kubernetes-monitoring.mjs from deploy/prometheus/rules.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ev-availability-proxy
  labels:
    app.kubernetes.io/name: ev-availability-proxy
spec:
  groups:
`

/** The groups of a rule file, with the indentation that they have in the resource. */
function groupsOf(name) {
  const text = readFileSync(new URL(`prometheus/rules/${name}.yml`, deploy), 'utf8')
  const groups = text.slice(text.indexOf('groups:\n') + 'groups:\n'.length)
  return groups.replaceAll(/^(?=.)/gm, '  ')
}

export const prometheusRule = () => `${HEADER}${groupsOf('recording')}\n${groupsOf('alerts')}`

if (process.argv[1] === import.meta.filename) {
  writeFileSync(new URL('prometheus-rule.yaml', component), prometheusRule())
  copyFileSync(
    new URL('grafana/dashboards/ev-availability-proxy.json', deploy),
    new URL('dashboard.json', component),
  )
}
