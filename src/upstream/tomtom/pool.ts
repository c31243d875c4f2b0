import { buildConnector, Pool } from 'undici'
import { MAX_BODY_BYTES } from './body.ts'
import type { ProxyOptions, ProxyTunnel } from './proxy-tunnel.ts'
import { createProxyTunnel } from './proxy-tunnel.ts'

export interface PoolOptions {
  /** Upstream's origin, and the path before the endpoint's own; without a trailing slash. */
  readonly baseUrl: string
  /** The proxy for calls; null or absent for direct connections. */
  readonly proxy?: ProxyOptions | null
  /** Total time for one attempt in ms, from its start to the last byte. */
  readonly timeoutMs: number
  readonly maxConnections: number
  /** Each call has a connection of its own. */
  readonly isFresh?: boolean
  /** The tunnel of another pool to the same proxy. */
  readonly tunnel?: ProxyTunnel | null
}

/** Longest time to connect, all addresses of a host included. */
const CONNECT_TIMEOUT_MS = 5_000
/** Node's 250 ms for each address of a host are too short for far regions (nodejs/node#54359). */
const ADDRESSES = { autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 1_000 }
/** Connections are replaced after this, so that changes in DNS take effect. */
const CONNECTION_TTL_MS = 300_000

/** The connections to upstream, direct or through a proxy. */
export function createPool(options: PoolOptions): {
  readonly pool: Pool
  readonly tunnel: ProxyTunnel | null
} {
  const { baseUrl, timeoutMs, maxConnections, isFresh = false } = options
  const connectOptions = { timeout: Math.min(timeoutMs, CONNECT_TIMEOUT_MS), ...ADDRESSES }
  const tunnel = options.tunnel ?? tunnelFor(options, connectOptions)
  const pool = new Pool(new URL(baseUrl).origin, {
    connections: maxConnections,
    connect: tunnel?.connect ?? connectOptions,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: MAX_BODY_BYTES,
    clientTtl: CONNECTION_TTL_MS,
    ...(isFresh && { pipelining: 0 }),
  })
  return { pool, tunnel }
}

function tunnelFor({ proxy }: PoolOptions, connectOptions: { readonly timeout: number }): ProxyTunnel | null {
  if (!proxy) return null
  const connectUpstream = buildConnector(connectOptions)
  return createProxyTunnel(proxy, {
    timeoutMs: connectOptions.timeout,
    connectUpstream,
    socketOptions: ADDRESSES,
  })
}
