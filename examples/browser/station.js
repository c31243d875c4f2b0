// Shows one station. fetch() sends If-None-Match by itself, because the proxy answers `no-cache` with an ETag. A
// classic script, because browsers load no module from a file.
const form = document.querySelector('form')
const rows = document.querySelector('tbody')
const status = document.querySelector('[role=status]')

form.addEventListener('submit', (event) => {
  event.preventDefault()
  const { proxy, station } = Object.fromEntries(new FormData(form))
  showStation(proxy, station).catch((error) => (status.textContent = error.message))
})

async function showStation(proxy, station) {
  const url = new URL('/search/2/chargingAvailability.json', proxy)
  url.searchParams.set('chargingAvailability', station)
  const response = await fetch(url, { signal: AbortSignal.timeout(5000) })
  const body = await response.json()
  if (!response.ok) throw new Error(`${body.detailedError.code}: ${body.detailedError.message}`)
  rows.replaceChildren(...body.connectors.map(rowOf))
  // A negative ttl or a detail in Cache-Status marks a stale answer.
  status.textContent = `${response.headers.get('Age')} s old, ${response.headers.get('Cache-Status')}`
}

function rowOf({ type, total, availability: { current } }) {
  const row = document.createElement('tr')
  for (const value of [type, current.available, current.occupied, total]) row.insertCell().textContent = value
  return row
}
