import type { ClientRequest } from 'node:http'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import type { buildConnector } from 'undici'

/** An HTTP proxy. Structurally the one of config/outbound-proxy.ts. */
export interface ProxyOptions {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly authorization: string | null
  /** For messages: without credentials. */
  readonly name: string
}

/** The proxy did not open a tunnel: upstream was not reached. */
export class ProxyError extends Error {
  readonly code = 'ERR_OUTBOUND_PROXY'

  constructor(proxy: string, problem: string, cause?: unknown) {
    super(`the outbound proxy ${proxy} ${problem}`, cause === undefined ? undefined : { cause })
    this.name = 'ProxyError'
  }
}

export interface ProxyTunnel {
  /** undici's `connect` for connections through the proxy. */
  readonly connect: buildConnector.connector
  /** The error for a call that ran out of time while a tunnel was being opened; null if none was. */
  readonly pendingError: () => ProxyError | null
  /** Ends the attempts to open a tunnel. */
  readonly close: () => void
}

export interface TunnelOptions {
  /** For the connection to the proxy and its response to CONNECT, in ms. */
  readonly timeoutMs: number
  /** Connects to upstream over a socket, with TLS for an https upstream. */
  readonly connectUpstream: buildConnector.connector
  /** The options of the connection to the proxy. */
  readonly socketOptions: {
    readonly autoSelectFamily: boolean
    readonly autoSelectFamilyAttemptTimeout: number
  }
}

/**
 * Opens connections to upstream by CONNECT, for http upstreams as well. By hand instead of undici's ProxyAgent, because
 * that one never ends a CONNECT that hangs, and reports all failures of the proxy as failures of upstream.
 */
export function createProxyTunnel(proxy: ProxyOptions, options: TunnelOptions): ProxyTunnel {
  const pending = new Set<ClientRequest>()

  const connect: buildConnector.connector = (target, callback) => {
    void connectThrough(target, callback)
  }
  const connectThrough = async (
    target: buildConnector.Options,
    callback: buildConnector.Callback,
  ): Promise<void> => {
    let socket: Socket
    try {
      socket = await openTunnel(proxy, { authority: authorityOf(target), ...options, pending })
    } catch (error) {
      callback(error as Error, null)
      return
    }
    if (target.protocol === 'https:') options.connectUpstream({ ...target, httpSocket: socket }, callback)
    else callback(null, socket)
  }
  const pendingError = () =>
    pending.size === 0 ? null : new ProxyError(proxy.name, 'did not respond to CONNECT in time')
  const close = () => {
    for (const request of pending) request.destroy()
  }
  return { connect, pendingError, close }
}

function authorityOf({ hostname, protocol, port }: buildConnector.Options): string {
  const host = hostname.includes(':') && !hostname.startsWith('[') ? `[${hostname}]` : hostname
  return `${host}:${port || (protocol === 'https:' ? '443' : '80')}`
}

interface Opening extends Pick<TunnelOptions, 'timeoutMs' | 'socketOptions'> {
  /** Host and port of upstream. */
  readonly authority: string
  readonly pending: Set<ClientRequest>
}

/** @throws ProxyError, as a rejection */
function openTunnel(proxy: ProxyOptions, opening: Opening): Promise<Socket> {
  const { timeoutMs, pending } = opening
  return new Promise((resolve, reject) => {
    const fail = (problem: string, cause?: unknown) => reject(new ProxyError(proxy.name, problem, cause))
    const request = sendConnect(proxy, opening)
    pending.add(request)
    // Not the socket's own timeout, which a proxy could renew byte by byte, and which does not include DNS.
    const timer = setTimeout(() => {
      fail('did not respond to CONNECT in time')
      request.destroy()
    }, timeoutMs)
    request.once('close', () => {
      clearTimeout(timer)
      pending.delete(request)
      fail('closed the connection') // without effect once it has settled
    })
    request.once('connect', ({ statusCode }, socket: Socket, head) => {
      clearTimeout(timer)
      pending.delete(request)
      socket.on('error', () => {}) // Node has removed its own listener, and undici's is not there yet
      if (statusCode !== undefined && statusCode >= 200 && statusCode < 300 && head.length === 0) {
        resolve(socket)
        return
      }
      socket.destroy()
      fail(
        head.length > 0 && statusCode === 200 ? 'sent data of its own' : `responded ${statusCode} to CONNECT`,
      )
    })
    request.once('error', (error: NodeJS.ErrnoException) => {
      const isReset = error.code === 'ECONNRESET' || error.code === 'EPIPE'
      fail(isReset ? 'closed the connection' : `cannot be used (${error.code ?? error.message})`, error)
    })
    request.end()
  })
}

function sendConnect(
  { host, port, tls, authorization }: ProxyOptions,
  { authority, socketOptions }: Opening,
): ClientRequest {
  const options = {
    ...socketOptions,
    host,
    port,
    method: 'CONNECT',
    path: authority,
    agent: false as const,
    headers: { host: authority, ...(authorization !== null && { 'proxy-authorization': authorization }) },
  }
  return tls ? httpsRequest(options) : httpRequest(options)
}
