import { isIP } from 'node:net'

/** An address with a port, as Azure and some load balancers write it: `203.0.113.7:51234` or `[2001:db8::1]:443`. */
const WITH_PORT = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9A-Fa-f:.]{2,45})\])(?::\d{1,5})?$/

/** An X-Forwarded-For header with its ports removed; everything else stays as it was sent. */
export function clientAddresses(forwardedFor: string): string {
  return forwardedFor.split(',').map(withoutPort).join(',')
}

function withoutPort(item: string): string {
  const address = item.trim()
  if (isIP(address) !== 0) return address
  const [, ipv4, ipv6] = WITH_PORT.exec(address) ?? []
  return ipv4 ?? ipv6 ?? address
}
