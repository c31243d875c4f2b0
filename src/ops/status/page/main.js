import { Aggregates } from './aggregates.js'
import { Charts } from './charts.js'
import { Details } from './details.js'
import { byId, element, setText } from './dom.js'
import { count, duration, moment, timeZone } from './format.js'
import { healthSummary } from './health-summary.js'
import { RecentErrors } from './requests.js'
import { StationForm } from './station.js'
import { showTiles } from './tiles.js'

const POLL_MS = 1_000
const POLL_TIMEOUT_MS = 5_000

const aggregates = new Aggregates()
const charts = new Charts()
const station = new StationForm()
const details = new Details()
const errors = new RecentErrors((id) => station.show(id))

/** The last report. */
let latest = null
/** Whether a poll is in flight. */
let polling = false
let timer = 0

for (const radio of document.querySelectorAll('[name=span]')) {
  radio.addEventListener('change', () => latest !== null && charts.show(latest, aggregates))
}
document.addEventListener('visibilitychange', () => void poll())
void poll()

/** Polls while the page is visible, one request at a time. */
async function poll() {
  clearTimeout(timer)
  if (document.hidden || polling) return
  polling = true
  const report = await fetchReport()
  polling = false
  timer = setTimeout(() => void poll(), POLL_MS)
  if (report === null)
    live('lost', latest === null ? 'no response' : `no response since ${moment(latest.now)}`)
  else update(report)
}

/** The changes since the last report; null if the request fails or the body is not JSON. */
async function fetchReport() {
  try {
    const url = `status?since=${latest?.cursor ?? ''}`
    const response = await fetch(url, { signal: AbortSignal.timeout(POLL_TIMEOUT_MS) })
    return await response.json()
  } catch {
    return null
  }
}

function update(report) {
  if (latest !== null && report.startedAt !== latest.startedAt) {
    // The service has restarted. This report contains only what is newer than the cursor, so fetch a full one next.
    latest = null
    for (const part of [aggregates, charts, errors, details]) part.clear()
    return
  }
  latest = report
  aggregates.add(report.history)
  errors.add(report)
  details.show(report)
  draw(report)
  live('live', `live, ${moment(report.now)}`)
}

function live(state, text) {
  byId('live').dataset.state = state
  setText(byId('live'), text)
}

function draw(report) {
  const { version, nodeVersion, instance, now, startedAt, totals } = report
  const node = nodeVersion.replace('v', 'Node ')
  const name = instance === null ? '' : `${instance}, `
  setText(byId('about'), `${name}version ${version}, ${node}, up ${duration(now - startedAt)}`)
  setText(byId('zone'), `Times are in ${timeZone(now)}.`)
  showStates(report)
  showHealth(healthSummary(report, aggregates.lastMinute()))
  showTiles(report, aggregates.recent())
  charts.show(report, aggregates)
  showCounts('results', totals.results)
  showCounts('outcomes', totals.outcomes)
  showCounts('events', report.live.events)
  byId('spenders').hidden = Object.keys(totals.clients).length === 0
  showCounts('clients', totals.clients)
  showSettings(report.settings)
}

/** Replaced only after a change: a selection of text would be lost with every report. */
function showSettings({ inForce, changedAt }) {
  setText(
    byId('settings-changed'),
    changedAt === null ? '' : `changed by SETTINGS_FILE, ${moment(changedAt)}`,
  )
  const shown = JSON.stringify(inForce)
  if (byId('settings').dataset.shown === shown) return
  byId('settings').dataset.shown = shown
  const rows = Object.entries(inForce).map(([name, text]) =>
    element('div', {}, element('dt', {}, name), element('dd', { className: 'mono' }, text)),
  )
  byId('settings').replaceChildren(...rows)
}

/** The states that are always shown, whether or not they are a problem. */
function showStates({ phase, upstream: { circuit, refusal: rejection }, sharedTierUp }) {
  const states = [phase, `circuit breaker ${circuit.replace('_', ' ')}`]
  if (rejection !== null) states.push('rejected by upstream')
  if (sharedTierUp !== null) states.push(`shared cache ${sharedTierUp ? 'connected' : 'unavailable'}`)
  showTexts(byId('states'), 'span', states)
}

/** The worst message as the headline, the others below it. */
function showHealth([worst, ...others]) {
  byId('health').dataset.level = worst.level
  setText(byId('headline'), worst.text)
  const texts = others.map(({ text }) => text)
  showTexts(byId('health-details'), 'li', texts)
}

/** Replaces the children of a list by the texts, and changes only those that differ. */
function showTexts(list, tag, texts) {
  while (list.children.length > texts.length) list.lastChild.remove()
  while (list.children.length < texts.length) list.append(element(tag))
  for (const [i, text] of texts.entries()) setText(list.children[i], text)
}

function showCounts(id, counts) {
  const items = Object.entries(counts).map(([name, value]) =>
    element(
      'div',
      { className: value === 0 ? 'none' : '' },
      element('dt', {}, name.replaceAll('_', ' ')),
      element('dd', {}, count(value)),
    ),
  )
  byId(id).replaceChildren(...items)
}
