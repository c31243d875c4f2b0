import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import t from 'tap'
import { startProxy } from '../../support/proxy.ts'

await t.test(
  'an upstream that resets kept connections at their second use is called over new ones',
  async (t) => {
    let connections = 0
    const server = createServer((socket) => {
      connections++
      let requests = 0
      socket.on('error', () => {})
      socket.on('data', (data) => {
        if (requests++ > 0) return void socket.resetAndDestroy()
        const id = /chargingAvailability=(\w+)/.exec(data.toString())?.[1]
        const body = JSON.stringify({ chargingAvailability: id, connectors: [] })
        const isLast = /connection: close/i.test(data.toString())
        const close = isLast ? 'connection: close\r\n' : ''
        socket.write(`HTTP/1.1 200 OK\r\n${close}content-length: ${body.length}\r\n\r\n${body}`)
        if (isLast) socket.end()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const proxy = await startProxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    t.teardown(() => proxy.stop())
    const statuses = []
    for (let i = 0; i < 30; i++) statuses.push((await proxy.get(`chargingAvailability=s${i}`)).status)
    t.strictSame([...new Set(statuses)], [200])
    t.ok((await proxy.metric('evproxy_upstream_requests_total{outcome="network"}')) <= 2)
    t.equal(await proxy.metric('evproxy_upstream_circuit_state{state="closed"}'), 1)
    t.ok(connections >= 28, `${connections} connections`)
  },
)
