import { BlockList, isIP } from 'node:net'
import type { Environment } from './schema.ts'

/** The HTTP proxy through which upstream is called. */
export interface OutboundProxy {
  readonly host: string
  readonly port: number
  /** Whether the connection to the proxy itself uses TLS. */
  readonly tls: boolean
  /** The value of `Proxy-Authorization`; null without credentials. */
  readonly authorization: string | null
  /** Its URL without credentials: for messages. */
  readonly name: string
}

export interface OutboundProxyChoice {
  /** Null: upstream is called directly. */
  readonly proxy: OutboundProxy | null
  /** The variables in force as text, credentials masked. */
  readonly effective: Readonly<Record<string, string>>
  readonly problems: readonly string[]
}

const DIRECT: OutboundProxyChoice = { proxy: null, effective: {}, problems: [] }
const EXPECTED = 'the URL of an HTTP proxy, such as http://user:password@proxy.example:3128'

/**
 * The proxy for upstream by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which are no settings of this service but conventions.
 * As with curl, HTTPS_PROXY is for https upstreams and HTTP_PROXY for http upstreams; lower case wins over upper case.
 */
export function chooseOutboundProxy(environment: Environment, baseUrl: string): OutboundProxyChoice {
  const upstream = new URL(baseUrl)
  const name = upstream.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const text = eitherCase(environment, name)
  const noProxy = eitherCase(environment, 'NO_PROXY') ?? ''
  if (text === null || isExcluded(upstream, noProxy)) return DIRECT
  const proxy = parseProxy(text)
  if (proxy === null) return { ...DIRECT, problems: [`${name}: expected ${EXPECTED}, got something else`] }
  const masked = proxy.authorization === null ? proxy.name : proxy.name.replace('//', '//********@')
  return {
    proxy,
    effective: { [name]: masked, ...(noProxy !== '' && { NO_PROXY: noProxy }) },
    problems: [],
  }
}

/** An empty variable counts as unset. */
function eitherCase(environment: Environment, name: string): string | null {
  return environment[name.toLowerCase()] || environment[name] || null
}

/** A text without a scheme is `host:port`, as for curl. */
function parseProxy(text: string): OutboundProxy | null {
  const withScheme = text.includes('://') ? text : `http://${text}`
  if (!/^https?:\/\//i.test(withScheme) || !URL.canParse(withScheme)) return null
  const { protocol, hostname, port, username, password, origin } = new URL(withScheme)
  const tls = protocol === 'https:'
  const credentials = decode(`${username}:${password}`)
  if (credentials === null) return null
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (tls ? 443 : 80) : Number(port),
    tls,
    authorization:
      username === '' && password === '' ? null : `Basic ${Buffer.from(credentials).toString('base64')}`,
    name: origin,
  }
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

/**
 * Whether NO_PROXY names the upstream: `*`, or a list of hosts, each with its subdomains and optionally a port, addresses
 * and networks (CIDR), separated by commas or blanks.
 */
function isExcluded({ protocol, hostname, port }: URL, noProxy: string): boolean {
  const host = canonical(hostname)
  const upstreamPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return noProxy
    .toLowerCase()
    .split(/[,\s]/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true
      if (entry.includes('/')) return isInNetwork(host, entry)
      const { name, port: entryPort } = splitPort(entry)
      if (entryPort !== null && entryPort !== upstreamPort) return false
      return host === name || host.endsWith(`.${name}`)
    })
}

/** In lower case, without brackets and without the final dot of a name; an IPv6 address in its shortest form. */
function canonical(host: string): string {
  const bare = host.toLowerCase().replace(/^\[|\]$|\.$/g, '')
  const url = `http://[${bare}]` // an address with a zone is none of a URL
  return isIP(bare) === 6 && URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : bare
}

/** An address with colons is in brackets if it has a port. A leading `.` or `*.` has no effect. */
function splitPort(entry: string): { readonly name: string; readonly port: string | null } {
  if (isIP(entry) === 6) return { name: canonical(entry), port: null }
  const [, name = entry, port = null] = /^(.+):(\d{1,5})$/.exec(entry) ?? []
  return { name: canonical(name).replace(/^\*?\./, ''), port }
}

function isInNetwork(host: string, entry: string): boolean {
  const [network = '', bits = ''] = entry.split('/')
  const family = isIP(host)
  const max = family === 4 ? 32 : 128
  if (family === 0 || isIP(network) !== family || !/^\d{1,3}$/.test(bits) || Number(bits) > max) return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  list.addSubnet(network, Number(bits), type)
  return list.check(host, type)
}
