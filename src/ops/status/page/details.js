import { byId, element, setText } from './dom.js'
import { count, moment } from './format.js'

const MAX_CHANGES = 50

/** The tables about errors by code, senders of client errors, stations by calls, and changes of states. */
export class Details {
  #changes = []

  /** Empties the list of changes, after a restart of the service. */
  clear() {
    this.#changes = []
  }

  show({ errorGroups, errorSenders, costliestStations, changes, abandoned }) {
    table('groups', ['Code', 'Status', 'Count', 'Last', 'Last reason'], errorGroups.map(groupRow))
    table('senders', ['Client', 'User-Agent', 'Count', 'Last', 'Last code'], errorSenders.map(senderRow))
    table('costliest', ['Station', 'Calls'], costliestStations.map(stationRow))
    if (changes.length > 0) this.#changes = [...changes, ...this.#changes].slice(0, MAX_CHANGES)
    table('changes', ['Time', 'Change', 'Detail'], this.#changes.map(changeRow))
    const text = `${count(abandoned)} abandoned: the client disconnected before its response`
    setText(byId('abandoned'), abandoned === 0 ? '' : text)
  }
}

function groupRow({ code, status, count: number, lastAt, lastReason }) {
  return [code, String(status), count(number), moment(lastAt), lastReason ?? '–']
}

function senderRow({ client, address, userAgent, count: number, lastAt, lastCode }) {
  const name = [client, address].filter((text) => text !== null).join(', ')
  return [name === '' ? 'unknown' : name, userAgent ?? '–', count(number), moment(lastAt), lastCode]
}

function stationRow({ station, calls }) {
  return [station, count(calls)]
}

function changeRow({ at, change, detail }) {
  return [moment(at), change, detail ?? '']
}

function cells(tag, texts, properties = {}) {
  return texts.map((text) => element(tag, properties, text))
}

/** Fills a table, and replaces it only if a text differs. */
function table(id, headings, rows) {
  const host = byId(id)
  const content = JSON.stringify(rows)
  if (host.dataset.content === content) return
  host.dataset.content = content
  const body =
    rows.length === 0
      ? element('p', { className: 'empty' }, 'None since the start.')
      : element(
          'table',
          { className: 'simple' },
          element('thead', {}, element('tr', {}, ...cells('th', headings, { scope: 'col' }))),
          element('tbody', {}, ...rows.map((row) => element('tr', {}, ...cells('td', row)))),
        )
  host.replaceChildren(body)
}
