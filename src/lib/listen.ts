import { lookup } from 'node:dns/promises'
import type { AddressInfo } from 'node:net'
import { isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Errors of `::` on a machine without IPv6: no such family, or no address of it. */
const NO_IPV6 = new Set<string | undefined>(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'])

/**
 * Opens a server's one listener. `::` is all addresses of both families, or `0.0.0.0` on a machine without IPv6. A name
 * is resolved to one address: for `localhost`, Fastify would open a second server for the other family, which has none
 * of the handlers of the first.
 */
export async function listen(
  server: FastifyInstance,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<AddressInfo> {
  const address = isIP(host) === 0 ? (await lookup(host, { order: 'ipv4first' })).address : host
  try {
    await server.listen({ host: address, port })
  } catch (error) {
    if (address !== '::' || !NO_IPV6.has((error as NodeJS.ErrnoException).code)) throw error
    await server.listen({ host: '0.0.0.0', port })
  }
  return server.server.address() as AddressInfo
}
