import type { FastifyRequest } from 'fastify'
import type { Admit, ClientNames, KeyOf } from '../admission.ts'
import { createAddressKey } from '../admission.ts'
import type { RawQuery } from '../request-context.ts'

/** Whether the key of a request is still valid when called. */
export function admissionCheck(
  { query, client }: FastifyRequest<RawQuery>,
  clients: ClientNames | null,
): () => boolean {
  if (clients === null) return () => true
  const key = new URLSearchParams(`&${query.raw}`).get('key') ?? ''
  return () => clients.nameOf(key) === client
}

/**
 * The name or the network by which the streams of a client are counted, also where nothing else is limited. It takes some
 * turns of the event loop at first, and the client may leave meanwhile.
 */
export function createClientKey(admit: Admit | null): (request: FastifyRequest<RawQuery>) => Promise<string> {
  let addressKey: Promise<KeyOf> | null = null
  return async (request) => {
    if (admit !== null) return request.rateLimitKey
    addressKey ??= createAddressKey()
    return (await addressKey)(request)
  }
}
