import { byId, element, setText } from './dom.js'
import { count, moment } from './format.js'

/** So many lines a list shows. What clients got wrong is of less interest. */
const SHOWN = { failures: 20, refused: 10, found: 20 }

/** The lists of requests that failed, and the search for one of them. `onStation` is told of an id that was chosen. */
export class FailedRequests {
  #lists
  #onStation

  constructor(onStation) {
    this.#onStation = onStation
    this.#lists = {
      failures: { kept: [], empty: 'No request has failed since the start.' },
      refused: { kept: [], empty: 'No client has got a request wrong since the start.' },
    }
    byId('find-form').addEventListener('submit', (event) => {
      event.preventDefault()
      void this.#find(byId('find-id').value.trim())
    })
    for (const name of Object.keys(this.#lists)) this.#show(name)
  }

  /** Forgets all: the service has started anew. */
  clear() {
    for (const [name, list] of Object.entries(this.#lists)) {
      list.kept = []
      this.#show(name)
    }
  }

  /** Adds what a report tells, the newest first. */
  add({ failures, refused, counts }) {
    for (const [name, news] of Object.entries({ failures, refused })) {
      const list = this.#lists[name]
      setText(byId(`${name}-count`), counts[name] === 0 ? '' : `${count(counts[name])} since the start`)
      if (news.length === 0) continue
      list.kept = [...news, ...list.kept].slice(0, SHOWN[name])
      this.#show(name)
    }
  }

  #show(name) {
    const { kept, empty } = this.#lists[name]
    const shown = kept.length === 0 ? element('p', { className: 'empty' }, empty) : this.#table(kept)
    byId(name).replaceChildren(shown)
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
              `Nothing is remembered under ${trackingId}: the request did not fail, or it was too long ago.`,
            )
          : this.#table(requests.slice(0, SHOWN.found)),
      )
    } catch {
      found.replaceChildren(element('p', { className: 'empty' }, 'The proxy did not answer.'))
    }
  }

  #table(failures) {
    const headings = ['Time', 'Station', 'Reason', 'Status', 'Tracking-ID']
    return element(
      'table',
      {},
      element(
        'thead',
        {},
        element('tr', {}, ...headings.map((name) => element('th', { scope: 'col' }, name))),
      ),
      element('tbody', {}, ...failures.map((failure) => this.#row(failure))),
    )
  }

  #row({ at, station, code, status, reason, cause, trackingId, traceId }) {
    const isOurs = status === 429 || status >= 500
    const badge = element('span', { className: isOurs ? 'code' : 'code client' }, code)
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
        title: 'Look it up',
        onclick: () => this.#onStation(station),
      },
      station,
    )
  }
}

function cell(className, ...children) {
  return element('td', { className }, ...children)
}
