import type { Socket } from 'node:net'
import { isIP } from 'node:net'

/** How much of a client's address is logged: nothing, its /24 or /48 network, or all of it. */
export type AddressDetail = 'off' | 'truncated' | 'full'

interface Addressed {
  readonly ip: string
  readonly socket: Pick<Socket, 'remoteAddress'>
}

/** A client's address for the log and the status page; null if it is off or unknown. */
export function clientAddress({ ip, socket }: Addressed, detail: AddressDetail): string | null {
  if (detail === 'off') return null
  return describeAddress(isIP(ip) === 0 ? socket.remoteAddress : ip, detail)
}

/** As {@link clientAddress}, for an address without its request. */
export function describeAddress(address: string | undefined, detail: AddressDetail): string | null {
  if (detail === 'off' || address === undefined || isIP(address) === 0) return null
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
  return detail === 'full' ? plain : networkOf(plain)
}

function networkOf(address: string): string {
  if (isIP(address) === 4) return `${address.slice(0, address.lastIndexOf('.'))}.0/24`
  const [before = '', after] = address.toLowerCase().split('::')
  const head = groupsOf(before)
  const zeros = after === undefined ? 0 : 8 - head.length - groupsOf(after).length
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...groupsOf(after ?? '')]
  const network = groups.slice(0, 3).map((group) => Number.parseInt(group, 16).toString(16))
  return `${network.join(':')}::/48`
}

function groupsOf(part: string): string[] {
  // A trailing IPv4 address stands for two groups, which are never among the first three.
  return part === '' ? [] : part.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group]))
}
