import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import type { Test } from 'tap'

/** A TCP proxy to a local port that delays every reply. */
export interface SlowLink {
  readonly port: number
  delayMs: number
}

export async function slowLink(t: Test, to: number): Promise<SlowLink> {
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1')
    near.pipe(far)
    far.on('data', (chunk: Buffer) => void setTimeout(() => near.writable && near.write(chunk), link.delayMs))
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
    near.on('error', () => far.destroy())
    far.on('error', () => near.destroy())
    t.teardown(() => near.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  const link = { port: (server.address() as AddressInfo).port, delayMs: 0 }
  return link
}
