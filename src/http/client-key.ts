import { ServiceError } from '../errors.ts'

/** Who may ask, by key. */
export interface ClientNames {
  readonly nameOf: (key: string) => string | null
}

/**
 * The client that a raw query comes from, by its `key`, the parameter that every SDK sends. Nothing of the key is
 * told, and clients read the same whatever is wrong with it.
 * @throws ServiceError Forbidden
 */
export function clientOf(raw: string, clients: ClientNames): string {
  const [key, ...more] = new URLSearchParams(`&${raw}`).getAll('key')
  if (key === undefined) throw forbidden('no key was given')
  if (more.length > 0) throw forbidden('more than one key was given')
  const name = clients.nameOf(key)
  if (name === null) throw forbidden('the key is not known')
  return name
}

function forbidden(reason: string): ServiceError {
  return new ServiceError('Forbidden', { reason })
}
