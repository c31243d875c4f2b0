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

/** The look-up box: asks for a station and draws its connectors. */
export class StationLookUp {
  #asked = 0

  constructor() {
    byId('station-form').addEventListener('submit', (event) => {
      event.preventDefault()
      void this.#lookUp(byId('station-id').value.trim(), byId('station-ask').checked)
    })
  }

  /** Looks up what is held, as if it had been typed. */
  show(id) {
    byId('station-id').value = id
    byId('station-form').scrollIntoView({ block: 'center' })
    void this.#lookUp(id, false)
  }

  async #lookUp(id, mayAsk) {
    const turn = ++this.#asked
    const shown = await read(id, mayAsk)
    if (turn === this.#asked) byId('station').replaceChildren(...shown)
  }
}

async function read(id, mayAsk) {
  try {
    const response = await (mayAsk ? ask(id) : fetch(`status/station?id=${encodeURIComponent(id)}`))
    const { answer, error } = await response.json()
    if (error !== null) return [sentence(`${error.code} (${error.status}): ${error.reason}`)]
    if (answer === null) return [sentence('Nothing is held for this station.')]
    return drawn(answer)
  } catch {
    return [sentence('The proxy did not answer.')]
  }
}

function ask(id) {
  return fetch('status/station', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id }),
  })
}

function sentence(text) {
  return element('p', { className: 'empty' }, text)
}

function drawn({ ageMs, ttlMs, availability }) {
  const connectors = availability.connectors
  const most = Math.max(1, ...connectors.flatMap(rowsOf).map(({ counts }) => sum(counts)))
  const freshness =
    ttlMs > 0 ? `fresh for another ${duration(ttlMs)}` : `past its TTL for ${duration(-ttlMs)}`
  return [
    element(
      'div',
      { className: 'station-head' },
      element('strong', { className: 'mono' }, availability.chargingAvailability),
      element('span', { className: 'muted' }, `${duration(ageMs)} old, ${freshness}`),
    ),
    connectors.length === 0
      ? sentence('A station without connectors: upstream does not know this id.')
      : element('div', { className: 'connectors' }, ...connectors.map((one) => connector(one, most))),
    legend(),
  ]
}

function connector(one, most) {
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
        bar(counts, most),
      ),
    ),
  )
}

/** The rows by power; the sums where there are none. */
function rowsOf({ availability: { perPowerLevel, current } }) {
  const levels = Array.isArray(perPowerLevel) ? perPowerLevel : []
  if (levels.length === 0) return [{ power: 'all', counts: countsOf(current) }]
  return levels.map((level) => ({ power: `${numberOf(level?.powerKW)} kW`, counts: countsOf(level) }))
}

function countsOf(holder) {
  return STATES.map(([state]) => numberOf(holder?.[state]))
}

/** A bar as long as its points are many, in comparison to the longest; each state as wide as its number. */
function bar(counts, most) {
  const told = STATES.map(([, name], i) => `${counts[i]} ${name}`).filter((_, i) => counts[i] > 0)
  const made = element('div', { className: 'bar', title: told.join(', ') })
  made.setAttribute('role', 'img')
  made.setAttribute('aria-label', told.join(', '))
  made.style.width = `${(sum(counts) / most) * 100}%`
  for (const [i, [state]] of STATES.entries()) {
    if (counts[i] === 0) continue
    const part = element('span', { className: state }, String(counts[i]))
    part.style.flexGrow = String(counts[i])
    part.style.background = `var(--c-${state})`
    made.append(part)
  }
  return made
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

/** Upstream's numbers are passed on as they came; what is none counts as 0. */
function numberOf(value) {
  return Number.isFinite(value) && value > 0 ? value : 0
}
