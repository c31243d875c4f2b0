import { createHmac, randomBytes } from 'node:crypto'
import type { ClientKey } from '../config/client-keys.ts'
import { formatProblems, parseClientLines } from '../config/client-keys.ts'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { SecretSource } from '../lib/secret.ts'
import { watchFile } from '../lib/watched-file.ts'

/** The clients whose keys are valid now. */
export interface Clients {
  /** The client with this key; null if there is none. */
  readonly nameOf: (key: string) => string | null
  readonly names: () => readonly string[]
  /** Valid and recently removed keys: all that must be redacted. */
  readonly secrets: () => readonly string[]
  readonly stop: () => void
}

export interface ClientsDeps {
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'clientsChanged' | 'clientsReloadFailed' | 'keyFileChecked'>
}

/** Number of removed keys that are still redacted. */
const MAX_RETIRED = 200

/**
 * The clients of a list, or of a file that is reloaded when it changes. If the file becomes invalid, the keys in force
 * stay.
 * @throws Error when the file cannot be read at the start or is invalid; the message does not repeat its content
 */
export function createClients(source: SecretSource<readonly ClientKey[]>, deps: ClientsDeps): Clients {
  const index = new KeyIndex()
  const { nameOf, names, secrets } = index
  if ('value' in source) {
    index.replace(source.value)
    return { nameOf, names, secrets, stop: () => {} }
  }
  const { current, stop } = watchFile(source.file, {
    parse: parseFile,
    isSame: sameClients,
    onChange: (clients) => {
      index.replace(clients)
      deps.observer.clientsChanged(names())
    },
    onError: (reason) => {
      deps.observer.clientsReloadFailed(reason)
      deps.observer.keyFileChecked('client_keys', false)
    },
    onRecovery: () => deps.observer.keyFileChecked('client_keys', true),
    clock: deps.clock,
  })
  index.replace(current())
  return { nameOf, names, secrets, stop }
}

/**
 * Finds a client by a keyed digest of its key instead of comparing keys: the timing of a lookup depends on a digest
 * that cannot be computed outside this process, and leaks nothing about the keys.
 */
class KeyIndex {
  readonly #digestKey = randomBytes(32)
  #clients: readonly ClientKey[] = []
  #nameByDigest = new Map<string, string>()
  #retired: readonly string[] = []

  replace(clients: readonly ClientKey[]): void {
    this.#retired = [...this.#retired, ...this.#clients.map(({ key }) => key)].slice(-MAX_RETIRED)
    this.#clients = clients
    this.#nameByDigest = new Map(clients.map(({ name, key }) => [this.#digest(key), name]))
  }

  readonly nameOf = (key: string): string | null => this.#nameByDigest.get(this.#digest(key)) ?? null

  readonly names = (): readonly string[] => this.#clients.map(({ name }) => name)

  readonly secrets = (): readonly string[] => [
    ...new Set([...this.#clients.map(({ key }) => key), ...this.#retired]),
  ]

  #digest(key: string): string {
    return createHmac('sha256', this.#digestKey).update(key).digest('base64')
  }
}

function parseFile(text: string): readonly ClientKey[] {
  const { clients, problems } = parseClientLines(text)
  if (problems.length > 0) throw new Error(`invalid file of client keys: ${formatProblems(problems)}`)
  return clients
}

function sameClients(one: readonly ClientKey[], other: readonly ClientKey[]): boolean {
  const keyOf = new Map(one.map(({ name, key }) => [name, key]))
  return one.length === other.length && other.every(({ name, key }) => keyOf.get(name) === key)
}
