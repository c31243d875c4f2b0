import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import { watchFile } from '../lib/watched-file.ts'
import type { ClientKey } from '../config/client-keys.ts'
import { parseClientLines, formatProblems } from '../config/client-keys.ts'

export type ClientsSetting = { readonly value: readonly ClientKey[] } | { readonly file: string }

/** Who may ask, by the keys in force. */
export interface Clients {
  /** The client whose key this is; null for nobody's. */
  readonly nameOf: (key: string) => string | null
  /** Every client's name. */
  readonly names: () => readonly string[]
  /** Keys in force, and the last that were: none of them may ever be shown. */
  readonly secrets: () => readonly string[]
  readonly stop: () => void
}

/** So many keys that are no longer in force are still kept out of the log. */
const RETIRED_KEPT = 200

/**
 * The clients of a setting, or of a file that is read again every few seconds. A file that holds a mistake later
 * leaves the keys in force.
 * @throws Error when the file cannot be read at the start, or holds a mistake; it never repeats the content
 */
export function openClients(
  setting: ClientsSetting,
  parts: {
    readonly clock: Pick<Clock, 'after'>
    readonly observer: Pick<Observer, 'clientsChanged' | 'clientsReloadFailed'>
  },
): Clients {
  const keys = new Keys()
  const { nameOf, names, known } = keys
  if ('value' in setting) {
    keys.take(setting.value)
    return { nameOf, names, secrets: known, stop: () => {} }
  }
  const { current, stop } = watchFile(setting.file, {
    parse: parseLines,
    isSame: sameClients,
    changed: (clients) => {
      keys.take(clients)
      parts.observer.clientsChanged(names())
    },
    unusable: (reason) => parts.observer.clientsReloadFailed(reason),
    clock: parts.clock,
  })
  keys.take(current())
  return { nameOf, names, secrets: known, stop }
}

/**
 * Keys are looked up by a keyed digest rather than compared: how long it takes tells of a digest that nobody outside
 * this process can compute, and nothing of the keys.
 */
class Keys {
  readonly #processKey = randomBytes(32)
  #clients: readonly ClientKey[] = []
  #nameByDigest = new Map<string, string>()
  #retired: readonly string[] = []

  take(clients: readonly ClientKey[]): void {
    this.#retired = [...this.#retired, ...this.#clients.map(({ key }) => key)].slice(-RETIRED_KEPT)
    this.#clients = clients
    this.#nameByDigest = new Map(clients.map(({ name, key }) => [this.#digest(key), name]))
  }

  readonly nameOf = (key: string): string | null => this.#nameByDigest.get(this.#digest(key)) ?? null

  readonly names = (): readonly string[] => this.#clients.map(({ name }) => name)

  readonly known = (): readonly string[] => [
    ...new Set([...this.#clients.map(({ key }) => key), ...this.#retired]),
  ]

  #digest(key: string): string {
    return createHmac('sha256', this.#processKey).update(key).digest('base64')
  }
}

function parseLines(text: string): readonly ClientKey[] {
  const { clients, problems: mistakes } = parseClientLines(text)
  if (mistakes.length > 0) throw new Error(`the file is no list of clients: ${formatProblems(mistakes)}`)
  return clients
}

function sameClients(one: readonly ClientKey[], other: readonly ClientKey[]): boolean {
  const keyOf = new Map(one.map(({ name, key }) => [name, key]))
  return one.length === other.length && other.every(({ name, key }) => keyOf.get(name) === key)
}
