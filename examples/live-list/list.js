// A list of stations, live: one batch for the first paint, then one event stream. Where streams are not available, the batch
// is polled. stations.json has the proxy's address and the stations.
const TIMEOUT_MS = 10_000
const POLL_EVERY_MS = 30_000
const RETRY_STREAM_MS = 60_000
/** The proxy ends a stream after eleven minutes at most; one that is still open then lost its connection unnoticed. */
const MAX_STREAM_MS = 12 * 60_000

const main = document.querySelector('#stations')
const power = document.querySelector('#power')
const state = document.querySelector('#state')
const { proxy, stations } = await (await fetch('stations.json')).json()

/** What is shown of a station: its element, the last body, when that last changed, and an error. */
const shown = new Map(stations.map(({ id, name }) => [id, { name, article: article(), body: null }]))
/** What belongs to the present filter; another filter, or the return of the network, begins again. */
let session = null
/** Since when no news arrives; null while it does. */
let lost = null

power.addEventListener('change', () => {
  for (const station of shown.values()) Object.assign(station, { body: null, problem: null, changedAt: null })
  void restart()
})
window.addEventListener('offline', () => disconnected('no network'))
window.addEventListener('online', () => void restart())
await restart()

async function restart() {
  session?.stop.abort()
  session = { stop: new AbortController(), etag: null }
  const { signal } = session.stop
  await load(signal)
  if (!signal.aborted) connect(signal)
}

/** All stations in one request; returns how long to wait before the next. An item without `connectors` is an error. */
async function load(signal) {
  try {
    const response = await fetch(new URL('/search/2/batch/sync.json', proxy), {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(session.etag !== null && { 'If-None-Match': session.etag }),
      },
      body: JSON.stringify({
        batchItems: stations.map(({ id }) => ({ query: `/chargingAvailability.json?${query([id])}` })),
      }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    const waitMs = 1000 * Number(response.headers.get('Retry-After') ?? 0)
    if (response.status !== 304 && !response.ok) {
      disconnected(`status ${response.status}`)
      return waitMs
    }
    if (response.ok) showItems(await response.json(), response.headers.get('ETag'))
    connected(`as of ${time(new Date(Date.now() - 1000 * Number(response.headers.get('Age') ?? 0)))}`)
    return waitMs
  } catch (error) {
    if (!signal.aborted) disconnected(error.message)
    return 0
  }
}

function showItems({ batchItems }, etag) {
  session.etag = etag
  batchItems.forEach(({ statusCode, response: body }, i) => {
    if (statusCode === 200) show(stations[i].id, body)
    else fail(stations[i].id, body.detailedError.message)
  })
}

function connect(signal) {
  const source = new EventSource(new URL(`/events?${query(stations.map(({ id }) => id))}`, proxy))
  let watchdog = 0
  signal.addEventListener('abort', () => {
    source.close()
    clearTimeout(watchdog)
  })
  source.addEventListener('open', () => {
    connected('live')
    clearTimeout(watchdog)
    watchdog = setTimeout(() => void restart(), MAX_STREAM_MS)
  })
  source.addEventListener('availability', ({ data }) => {
    const body = JSON.parse(data)
    show(body.chargingAvailability, body)
  })
  source.addEventListener('problem', ({ data }) => {
    const { chargingAvailability, error } = JSON.parse(data)
    fail(chargingAvailability, error.detailedError.message)
  })
  source.addEventListener('error', () => {
    if (signal.aborted) return
    disconnected('reconnecting')
    // EventSource reconnects by itself, except after an error response.
    if (source.readyState === EventSource.CLOSED) void poll(signal, Date.now() + RETRY_STREAM_MS)
  })
}

/** Polls the batch, and tries the stream again once in a while. */
async function poll(signal, until) {
  const waitMs = Math.max(POLL_EVERY_MS, await load(signal))
  const timer = setTimeout(() => {
    if (Date.now() < until) void poll(signal, until)
    else connect(signal)
  }, waitMs)
  signal.addEventListener('abort', () => clearTimeout(timer))
  if (signal.aborted) clearTimeout(timer)
}

function query(ids) {
  const parameters = new URLSearchParams(ids.map((id) => ['chargingAvailability', id]))
  if (power.value !== '') parameters.append('minPowerKW', power.value)
  return parameters
}

function show(id, body) {
  const station = shown.get(id)
  const isChange = station.body !== null && JSON.stringify(station.body) !== JSON.stringify(body)
  Object.assign(station, { body, problem: null, changedAt: isChange ? new Date() : station.changedAt })
  render(station)
}

/** What was known stays visible, marked as stale. */
function fail(id, message) {
  const station = shown.get(id)
  station.problem ??= { message, since: new Date() }
  render(station)
}

function render({ article, name, body, problem, changedAt }) {
  const parts = [element('h2', name)]
  if (body !== null) parts.push(connectors(body))
  if (problem) {
    const since = body === null ? 'not available' : `stale since ${time(problem.since)}`
    parts.push(element('p', `${since}: ${problem.message}`, 'problem'))
  } else parts.push(element('small', changedAt ? `changed ${time(changedAt)}` : 'no change seen yet'))
  article.replaceChildren(...parts)
}

function connectors({ connectors }) {
  if (connectors.length === 0) return element('p', 'no such connector', 'unknown')
  const list = document.createElement('ul')
  list.append(...connectors.map(connector))
  return list
}

/** `unknown` is neither free nor occupied, so it is shown as what it is. */
function connector({ type, total, availability: { current, perPowerLevel } }) {
  const item = document.createElement('li')
  const { available = 0, occupied = 0, unknown = 0, reserved = 0, outOfService = 0 } = current ?? {}
  item.append(
    element(
      'span',
      [type.replace(/^IEC62196/, ''), powerOf(perPowerLevel)].filter(Boolean).join(', '),
      'type',
    ),
    element('span', `of ${total ?? '?'}`, 'total'),
    element('span', `${available} free`, available > 0 ? 'free' : ''),
    element('span', `${occupied} occupied`, occupied > 0 ? 'occupied' : ''),
    element('span', `${unknown} unknown`, 'unknown'),
  )
  const others = [
    reserved > 0 && `${reserved} reserved`,
    outOfService > 0 && `${outOfService} out of service`,
  ]
  if (others.some(Boolean)) item.append(element('small', others.filter(Boolean).join(', ')))
  return item
}

/** `22 kW`, `22 to 50 kW`, which is not broken into two lines; empty without rows. */
function powerOf(rows = []) {
  const powers = [...new Set(rows.map(({ powerKW }) => powerKW))].toSorted((a, b) => a - b)
  if (powers.length === 0) return ''
  const text = powers.length === 1 ? `${powers[0]} kW` : `${powers[0]} to ${powers.at(-1)} kW`
  return text.replaceAll(' ', '\u00a0')
}

function connected(text) {
  lost = null
  state.className = ''
  state.textContent = text
}

function disconnected(reason) {
  lost ??= new Date()
  state.className = 'stale'
  state.textContent = `stale since ${time(lost)} (${reason})`
}

function article() {
  const node = document.createElement('article')
  main.append(node)
  return node
}

function element(name, text, className = '') {
  const node = document.createElement(name)
  node.textContent = text
  node.className = className
  return node
}

function time(date) {
  return date.toLocaleTimeString()
}
