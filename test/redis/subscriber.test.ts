import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { keepAlive, openStores } from './replicas.ts'

keepAlive(t)

await t.test(
  'a connection that is closed while it subscribes again ends nothing, and messages arrive later',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await RedisServer.start(t)
    let subscriptions = 0
    const link = createServer((client) => {
      const server = connect(redis.port, '127.0.0.1')
      for (const socket of [client, server]) socket.on('error', () => {})
      client.on('close', () => server.destroy())
      client.on('data', (bytes) => {
        const isSubscription = /\nsubscribe\r/i.test(bytes.toString())
        if (isSubscription) subscriptions++
        // The first one is confirmed, then the connection closes; the second one is never confirmed.
        if (isSubscription && subscriptions === 1)
          server.once('data', () => setImmediate(() => client.destroy()))
        if (isSubscription && subscriptions === 2) client.destroy()
        else server.write(bytes)
      })
      server.pipe(client)
    }).listen(0, '127.0.0.1')
    await once(link, 'listening')
    t.teardown(() => link.close())
    const unhandled: unknown[] = []
    const note = (error: unknown) => void unhandled.push(error)
    process.on('unhandledRejection', note)
    t.teardown(() => process.off('unhandledRejection', note))

    const { port } = link.address() as AddressInfo
    const stores = await openStores(t, { url: `redis://127.0.0.1:${port}` })
    const purged: (string | null)[] = []
    stores.answers.onPurged?.((id) => void purged.push(id))
    await until('it has subscribed a third time', () => subscriptions >= 3)
    await until('a message arrives', async () => {
      await redis.cli('PUBLISH', 'evproxy:1:purged', '1 another a')
      return purged.length > 0
    })
    t.strictSame([purged[0], unhandled], ['a', []])
  },
)
