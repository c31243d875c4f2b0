// A list of stations, live: one batch for the first paint, then one event stream. If streams are not available, the batch
// is polled. stations.json has the proxy's address and the stations.
const POLL_EVERY_MS = 30_000
const RETRY_STREAM_MS = 60_000

const main = document.querySelector('#stations')
const power = document.querySelector('#power')
const state = document.querySelector('#state')
const { proxy, stations } = await (await fetch('stations.json')).json()

/** What is shown of a station: its element, the last body, when that last changed, and an error. */
const shown = new Map(stations.map(({ id, name }) => [id, { name, article: article(), body: null }]))
/** The open stream or the timer of the polls. */
let source = null
let timer = 0
let lost = null

power.addEventListener('change', () => void restart())
await restart()

async function restart() {
  source?.close()
  clearTimeout(timer)
  for (const station of shown.values()) Object.assign(station, { body: null, changedAt: null })
  await load()
  connect()
}

/** All stations in one request. An item without `connectors` is an error. */
async function load() {
  try {
    const response = await fetch(new URL('/search/2/batch/sync.json', proxy), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        batchItems: stations.map(({ id }) => ({ query: `/chargingAvailability.json?${query([id])}` })),
      }),
      signal: AbortSignal.timeout(10_000),
    })
    const { batchItems } = await response.json()
    if (!response.ok) throw new Error(`status ${response.status}`)
    batchItems.forEach(({ statusCode, response: body }, i) => {
      if (statusCode === 200) show(stations[i].id, body)
      else fail(stations[i].id, body.detailedError.message)
    })
    connected(`as of ${time(new Date(Date.now() - 1000 * Number(response.headers.get('Age') ?? 0)))}`)
  } catch (error) {
    disconnected(error.message)
  }
}

function connect() {
  const opened = (source = new EventSource(new URL(`/events?${query(stations.map(({ id }) => id))}`, proxy)))
  source.addEventListener('open', () => connected('live'))
  source.addEventListener('availability', ({ data }) => {
    const body = JSON.parse(data)
    show(body.chargingAvailability, body)
  })
  source.addEventListener('problem', ({ data }) => {
    const { chargingAvailability, error } = JSON.parse(data)
    fail(chargingAvailability, error.detailedError.message)
  })
  source.addEventListener('error', () => {
    if (opened !== source) return
    disconnected('reconnecting')
    // EventSource reconnects by itself, except after an error response.
    if (opened.readyState === EventSource.CLOSED) void poll(Date.now() + RETRY_STREAM_MS)
  })
}

/** Polls the batch, and tries the stream again once in a while. */
async function poll(until) {
  await load()
  timer = setTimeout(() => {
    if (Date.now() < until) void poll(until)
    else connect()
  }, POLL_EVERY_MS)
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
  if (problem)
    parts.push(
      element(
        'p',
        `${body === null ? 'not available' : `stale since ${time(problem.since)}`}: ${problem.message}`,
        'problem',
      ),
    )
  else parts.push(element('small', changedAt ? `changed ${time(changedAt)}` : 'no change seen yet'))
  article.replaceChildren(...parts)
}

function connectors({ connectors }) {
  if (connectors.length === 0) return element('p', 'no such connector', 'unknown')
  const list = document.createElement('ul')
  list.append(...connectors.map(connector))
  return list
}

/** `unknown` is neither free nor taken, so it is shown as what it is. */
function connector({ type, total, availability: { current } }) {
  const item = document.createElement('li')
  const { available = 0, occupied = 0, unknown = 0 } = current ?? {}
  const others = (total ?? 0) - available - occupied - unknown
  item.append(
    element('span', type.replace(/^IEC62196/, '')),
    element('span', `${available} free`, available > 0 ? 'free' : ''),
    element('span', `${occupied} occupied`, occupied > 0 ? 'occupied' : ''),
    element('span', `${unknown} unknown`, 'unknown'),
    element('span', others > 0 ? `${others} not in use` : `of ${total ?? '?'}`, 'unknown'),
  )
  return item
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
