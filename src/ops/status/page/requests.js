import { byId, element, setText } from './dom.js'
import { count, moment } from './format.js'

/** Maximum number of rows by list. */
const MAX_ROWS = { failures: 20, clientErrors: 10, found: 20 }

/** The lists of failures and client errors, and the search by Tracking-ID. `onStation` is called with a clicked id. */
export class RecentErrors {
  #lists
  #onStation

  constructor(onStation) {
    this.#onStation = onStation
    this.#lists = {
      failures: { errors: [], empty: 'No request has failed since the start.' },
      clientErrors: { errors: [], empty: 'No client errors since the start.' },
    }
    byId('find-form').addEventListener('submit', (event) => {
      event.preventDefault()
      void this.#find(byId('find-id').value.trim())
    })
    for (const name of Object.keys(this.#lists)) this.#show(name)
  }

  /** Empties the lists, after a restart of the service. */
  clear() {
    for (const [name, list] of Object.entries(this.#lists)) {
      list.errors = []
      this.#show(name)
    }
  }

  /** Adds the errors of a report, the newest first. */
  add({ failures, refused, counts }) {
    this.#add('failures', failures, counts.failures)
    this.#add('clientErrors', refused, counts.refused)
  }

  #add(name, added, total) {
    setText(byId(`${name}-count`), total === 0 ? '' : `${count(total)} since the start`)
    if (added.length === 0) return
    const list = this.#lists[name]
    list.errors = [...added, ...list.errors].slice(0, MAX_ROWS[name])
    this.#show(name)
  }

  #show(name) {
    const { errors, empty } = this.#lists[name]
    const content = errors.length === 0 ? element('p', { className: 'empty' }, empty) : this.#table(errors)
    byId(name).replaceChildren(content)
  }

  async #find(trackingId) {
    const found = byId('found')
    try {
      const response = await fetch(`status/requests?trackingId=${encodeURIComponent(trackingId)}`)
      const { requests } = await response.json()
      found.replaceChildren(
        requests.length === 0
          ? element(
              'p',
              { className: 'empty' },
              `No error with the Tracking-ID ${trackingId}: the request did not fail, or it is no longer kept.`,
            )
          : this.#table(requests.slice(0, MAX_ROWS.found)),
      )
    } catch {
      found.replaceChildren(element('p', { className: 'empty' }, 'The service did not respond.'))
    }
  }

  #table(errors) {
    const headings = ['Time', 'Station', 'Reason', 'Status', 'Tracking-ID']
    return element(
      'table',
      {},
      element(
        'thead',
        {},
        element('tr', {}, ...headings.map((name) => element('th', { scope: 'col' }, name))),
      ),
      element('tbody', {}, ...errors.map((error) => this.#row(error))),
    )
  }

  #row({ at, station, code, status, reason, cause, trackingId, traceId }) {
    const isFailure = status === 429 || status >= 500
    const badge = element('span', { className: isFailure ? 'code' : 'code client' }, code)
    return element(
      'tr',
      {},
      cell('time', moment(at)),
      cell(
        station === null ? 'station none' : 'station mono',
        station === null ? '–' : this.#stationLink(station),
      ),
      cell('reason', badge, [reason, cause].filter((text) => text !== null).join(': ')),
      cell('status', String(status)),
      cell(
        'id mono',
        trackingId,
        traceId === null ? '' : element('div', { className: 'muted' }, `trace ${traceId}`),
      ),
    )
  }

  #stationLink(station) {
    return element(
      'button',
      {
        type: 'button',
        className: 'link mono',
        title: 'Look up this station',
        onclick: () => this.#onStation(station),
      },
      station,
    )
  }
}

function cell(className, ...children) {
  return element('td', { className }, ...children)
}
