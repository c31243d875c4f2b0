import { networkInterfaces } from 'node:os'
import type { Test } from 'tap'
import t from 'tap'
import fastify from 'fastify'
import { listen } from '../../src/lib/listen.ts'
import { request } from '../support/request.ts'

const HAS_IPV6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
)

function server(t: Test) {
  const app = fastify()
  app.get('/', async () => 'ok')
  t.teardown(() => app.close())
  return app
}

await t.test('`::` listens on both families', { skip: HAS_IPV6 ? false : 'no IPv6 here' }, async (t) => {
  const { port } = await listen(server(t), { host: '::', port: 0 })
  const [v4, v6] = [
    await request(`http://127.0.0.1:${port}`, '/'),
    await request(`http://[::1]:${port}`, '/'),
  ]
  t.strictSame([v4.status, v6.status], [200, 200])
})

await t.test('`::` becomes 0.0.0.0 on a machine without IPv6', async (t) => {
  const app = server(t)
  const hosts: string[] = []
  const listenAt = app.listen.bind(app) as (options: { host: string; port: number }) => Promise<string>
  const withoutIpv6 = Object.assign(app, {
    listen: async (options: { host: string; port: number }) => {
      hosts.push(options.host)
      if (options.host === '::') throw Object.assign(new Error('no IPv6'), { code: 'EAFNOSUPPORT' })
      return listenAt(options)
    },
  })
  t.equal((await listen(withoutIpv6, { host: '::', port: 0 })).address, '0.0.0.0')
  t.strictSame(hosts, ['::', '0.0.0.0'])
})

await t.test('another error is no reason for another address', async (t) => {
  const { port } = await listen(server(t), { host: '::', port: 0 })
  await t.rejects(listen(server(t), { host: '::', port }), { code: 'EADDRINUSE' })
  await t.rejects(listen(server(t), { host: '192.0.2.1', port: 0 }), { code: 'EADDRNOTAVAIL' })
})

await t.test('`localhost` is one address and one server', async (t) => {
  const app = server(t)
  const { address, port } = await listen(app, { host: 'localhost', port: 0 })
  t.equal(address, '127.0.0.1')
  t.equal(app.addresses().length, 1)
  await t.rejects(request(`http://[::1]:${port}`, '/'))
})
