import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import type { Test } from 'tap'

/** How the proxy handles CONNECT: it opens the tunnel, responds with a status, closes the connection, or never responds. */
export type ProxyBehaviour = 'tunnel' | 'close' | 'hang' | number

/** An HTTP proxy on a real socket, which records every CONNECT and every byte that passes. */
export interface OutboundProxyDouble {
  readonly port: number
  readonly url: string
  behaviour: ProxyBehaviour
  /** The heads of the requests, the first line first. */
  readonly heads: string[]
  /** What was sent through tunnels by the client, as latin1. */
  sent: string
  /** Tunnels that were cut. */
  readonly cutTunnels: number
  /** Closes all tunnels. */
  readonly cut: () => void
}

export async function startOutboundProxy(
  t: Test,
  behaviour: ProxyBehaviour = 'tunnel',
): Promise<OutboundProxyDouble> {
  const sockets = new Set<Socket>()
  const tunnels = new Set<Socket>()
  let cutTunnels = 0
  const server = createServer((socket) => {
    track(sockets, socket)
    let head = ''
    const onData = (bytes: Buffer) => {
      head += bytes.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      socket.off('data', onData)
      double.heads.push(head.slice(0, end))
      respond(double, socket, { sockets, tunnels })
    }
    socket.on('data', onData)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  const double: OutboundProxyDouble = {
    port,
    url: `http://127.0.0.1:${port}`,
    behaviour,
    heads: [],
    sent: '',
    get cutTunnels() {
      return cutTunnels
    },
    cut: () => {
      cutTunnels += tunnels.size
      for (const socket of tunnels) socket.destroy()
    },
  }
  return double
}

interface Open {
  readonly sockets: Set<Socket>
  /** The clients' sides of tunnels. */
  readonly tunnels: Set<Socket>
}

function respond(double: OutboundProxyDouble, socket: Socket, open: Open): void {
  const { behaviour } = double
  if (behaviour === 'hang') return
  if (behaviour === 'close') socket.destroy()
  else if (behaviour === 'tunnel') openTunnel(double, socket, open)
  else socket.end(`HTTP/1.1 ${behaviour} No\r\ncontent-length: 2\r\n\r\nno`)
}

/** The target of CONNECT is on this machine, whatever its name is. */
function openTunnel(double: OutboundProxyDouble, socket: Socket, { sockets, tunnels }: Open): void {
  const [, port] = /^CONNECT \S+:(\d+) /.exec(double.heads.at(-1) ?? '') ?? []
  const upstream = connect(Number(port), '127.0.0.1')
  track(sockets, upstream)
  track(tunnels, socket)
  socket.once('close', () => upstream.destroy())
  socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
  socket.on('data', (bytes) => (double.sent += bytes.toString('latin1')))
  socket.pipe(upstream).pipe(socket)
}

function track(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket)
  socket.on('error', () => socket.destroy())
  socket.once('close', () => sockets.delete(socket))
}
