import { Charts } from './charts.js'
import { byId, element, setText } from './dom.js'
import { Figures } from './figures.js'
import { count, duration, moment } from './format.js'
import { FailedRequests } from './requests.js'
import { StationLookUp } from './station.js'
import { showTiles } from './tiles.js'
import { findings } from './verdict.js'

const POLL_MS = 1_000
const PATIENCE_MS = 5_000

const figures = new Figures()
const charts = new Charts()
const station = new StationLookUp()
const failed = new FailedRequests((id) => station.show(id))

/** The last report, and whether one is being asked for. */
let latest = null
let polling = false
let timer = 0

for (const radio of document.querySelectorAll('[name=span]')) {
  radio.addEventListener('change', () => latest !== null && charts.show(latest, figures))
}
document.addEventListener('visibilitychange', () => void poll())
void poll()

/** One report after the other while somebody looks; none twice at a time. */
async function poll() {
  clearTimeout(timer)
  if (document.hidden || polling) return
  polling = true
  const report = await ask()
  polling = false
  timer = setTimeout(() => void poll(), POLL_MS)
  if (report === null) live('lost', latest === null ? 'no answer' : `no answer since ${moment(latest.now)}`)
  else take(report)
}

/** What is new since the last report; null without an answer, or one that is no report. */
async function ask() {
  try {
    const url = `status?since=${latest?.cursor ?? ''}`
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) })
    return await response.json()
  } catch {
    return null
  }
}

function take(report) {
  if (latest !== null && report.startedAt !== latest.startedAt) {
    // The service has started anew, and so do we: what was asked for is only what is new.
    latest = null
    for (const part of [figures, charts, failed]) part.clear()
    return
  }
  latest = report
  figures.add(report.history)
  failed.add(report)
  draw(report)
  live('live', `live, ${moment(report.now)}`)
}

function live(state, text) {
  byId('live').dataset.state = state
  setText(byId('live'), text)
}

function draw(report) {
  const { version, nodeVersion, now, startedAt, totals } = report
  const node = nodeVersion.replace('v', 'Node ')
  setText(byId('about'), `version ${version}, ${node}, up ${duration(now - startedAt)}`)
  showStates(report)
  showVerdict(findings(report, figures.lastMinute()))
  showTiles(report, figures.recent())
  charts.show(report, figures)
  showCounts('results', totals.results)
  showCounts('outcomes', totals.outcomes)
}

/** What is so at this moment, whether or not it is worth a word. */
function showStates({ phase, upstream: { circuit, refusal }, sharedTierUp }) {
  const states = [phase, `circuit ${circuit.replace('_', ' ')}`]
  if (refusal !== null) states.push('refused by upstream')
  if (sharedTierUp !== null) states.push(`shared tier ${sharedTierUp ? 'up' : 'away'}`)
  showTexts(byId('states'), 'span', states)
}

/** The worst as the headline, the rest below it. */
function showVerdict([worst, ...others]) {
  byId('verdict').dataset.level = worst.level
  setText(byId('headline'), worst.text)
  const texts = others.map(({ text }) => text)
  showTexts(byId('findings'), 'li', texts)
}

/** Makes the texts the children of a list, and touches only what differs. */
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
