import { byId, element, swatch } from './dom.js'
import { duration } from './format.js'

/** The states of a charging point, in the order of the bars. */
const STATES = [
  ['available', 'available'],
  ['occupied', 'occupied'],
  ['reserved', 'reserved'],
  ['unknown', 'unknown'],
  ['outOfService', 'out of service'],
]

/** The station form: looks up a station and shows its connectors. */
export class StationForm {
  #lookups = 0

  constructor() {
    byId('station-form').addEventListener('submit', (event) => {
      event.preventDefault()
      void this.#lookup(byId('station-id').value.trim(), byId('station-ask').checked)
    })
    byId('station-purge').addEventListener('click', () => {
      const id = byId('station-id').value.trim()
      if (id !== '') void this.#purge(`status/station?id=${encodeURIComponent(id)}`, 'This station is')
    })
    byId('purge-all').addEventListener('click', () => {
      if (confirm('Drop all cached answers? Each station then costs one call.')) {
        void this.#purge('status/stations', 'All stations are')
      }
    })
  }

  /** Drops what is cached under a path of the admin listener. */
  async #purge(path, what) {
    this.#lookups++
    const result = await fetch(path, { method: 'DELETE' }).then(
      async (response) => (response.ok ? `${what} purged.` : (await response.json()).detailedError.message),
      () => 'The service did not respond.',
    )
    byId('station').replaceChildren(sentence(result))
  }

  /** Fills in the id and looks up the cached answer. */
  show(id) {
    byId('station-id').value = id
    byId('station-form').scrollIntoView({ block: 'center' })
    void this.#lookup(id, false)
  }

  async #lookup(id, mayCall) {
    const number = ++this.#lookups
    const elements = await elementsFor(id, mayCall)
    if (number === this.#lookups) byId('station').replaceChildren(...elements)
  }
}

async function elementsFor(id, mayCall) {
  try {
    const response = await (mayCall ? request(id) : fetch(`status/station?id=${encodeURIComponent(id)}`))
    const { answer, error } = await response.json()
    if (error !== null) return [sentence(`${error.code} (${error.status}): ${error.reason}`)]
    if (answer === null) return [sentence('This station is not cached.')]
    return answerElements(answer)
  } catch {
    return [sentence('The service did not respond.')]
  }
}

function request(id) {
  return fetch('status/station', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id }),
  })
}

function sentence(text) {
  return element('p', { className: 'empty' }, text)
}

function answerElements({ ageMs, ttlMs, availability }) {
  const connectors = availability.connectors
  const maxTotal = Math.max(1, ...connectors.flatMap(rowsOf).map(({ counts }) => sum(counts)))
  const freshness = ttlMs > 0 ? `fresh for another ${duration(ttlMs)}` : `stale for ${duration(-ttlMs)}`
  return [
    element(
      'div',
      { className: 'station-head' },
      element('strong', { className: 'mono' }, availability.chargingAvailability),
      element('span', { className: 'muted' }, `${duration(ageMs)} old, ${freshness}`),
    ),
    connectors.length === 0
      ? sentence('No connectors: upstream does not know this id.')
      : element('div', { className: 'connectors' }, ...connectors.map((one) => connector(one, maxTotal))),
    legend(),
  ]
}

function connector(one, maxTotal) {
  const total = numberOf(one.total)
  return element(
    'section',
    { className: 'connector' },
    element('h3', {}, one.type, element('small', {}, total === 1 ? '1 point' : `${total} points`)),
    ...rowsOf(one).map(({ power, counts }) =>
      element(
        'div',
        { className: 'level' },
        element('span', { className: 'power' }, power),
        bar(counts, maxTotal),
      ),
    ),
  )
}

/** The rows by power level, or a single row of the sums if there are none. */
function rowsOf({ availability: { perPowerLevel, current } }) {
  const levels = Array.isArray(perPowerLevel) ? perPowerLevel : []
  if (levels.length === 0) return [{ power: 'all', counts: countsOf(current) }]
  return levels.map((level) => ({ power: `${numberOf(level?.powerKW)} kW`, counts: countsOf(level) }))
}

function countsOf(holder) {
  return STATES.map(([state]) => numberOf(holder?.[state]))
}

/** A bar whose length is proportional to its number of points, and so is the width of each state. */
function bar(counts, maxTotal) {
  const labels = STATES.map(([, name], i) => `${counts[i]} ${name}`).filter((_, i) => counts[i] > 0)
  const created = element('div', { className: 'bar', title: labels.join(', ') })
  created.setAttribute('role', 'img')
  created.setAttribute('aria-label', labels.join(', '))
  created.style.width = `${(sum(counts) / maxTotal) * 100}%`
  for (const [i, [state]] of STATES.entries()) {
    if (counts[i] === 0) continue
    const part = element('span', { className: state }, String(counts[i]))
    part.style.flexGrow = String(counts[i])
    part.style.background = `var(--c-${state})`
    created.append(part)
  }
  return created
}

function legend() {
  return element(
    'ul',
    { className: 'legend' },
    ...STATES.map(([state, name]) => element('li', {}, swatch(`--c-${state}`), name)),
  )
}

function sum(counts) {
  return counts.reduce((all, value) => all + value, 0)
}

/** The service does not validate upstream's numbers; anything else counts as 0. */
function numberOf(value) {
  return Number.isFinite(value) && value > 0 ? value : 0
}
