import t from 'tap'
import type { Test } from 'tap'
import type { RedisConfig } from '../../src/config/redis-url.ts'
import { redisUrl } from '../../src/config/redis-url.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { Commands } from '../../src/redis/commands.ts'
import { PurgeFeed } from '../../src/redis/purge-feed.ts'
import { MAX_LISTED } from '../../src/redis/purge-script.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { keepAlive, sleep } from './replicas.ts'

keepAlive(t)

const LIST = 'evproxy:1:purges'

/** Replicas on one Redis, whose messages arrive only while they are connected. */
async function setup(t: Test) {
  const redis = await RedisServer.start(t)
  const commands = await Commands.open(redisUrl.parse(redis.url) as RedisConfig, {
    clock: systemClock,
    observer: { sharedCacheChanged: () => {}, sharedCommandRejected: () => {} },
  })
  t.teardown(() => commands.close())
  const connected = new Set<(message: string) => void>()
  let messages = 0
  commands.subscribe('purged', (message) => {
    messages++
    for (const receive of connected) receive(message)
  })
  await until('messages arrive', async () =>
    /purged\n1/.test(await redis.cli('PUBSUB', 'NUMSUB', 'evproxy:1:purged')),
  )
  const replica = () => {
    const reported: (string | null)[] = []
    let receive: (message: string) => void = () => {}
    let listening: (isListening: boolean) => void = () => {}
    let replies = 0
    const access = {
      script: (...command: Parameters<Commands['script']>) =>
        commands.script(...command).finally(() => replies++),
      subscribe: (_channel: string, listener: typeof receive) => void (receive = listener),
      onListening: (listener: typeof listening) => void (listening = listener),
    }
    const feed = new PurgeFeed(access, systemClock)
    feed.listen((id) => void reported.push(id))
    return {
      reported,
      /** Ends when the message has arrived. */
      async purge(...ids: (string | null)[]) {
        const before = messages
        const done = await Promise.all(ids.map((id) => feed.announce(id)))
        await until('the messages have arrived', () => messages === before + ids.length)
        return !done.includes(false)
      },
      receive: (message: string) => receive(message),
      /** Ends when it has read what it has missed. */
      connect: async () => {
        const before = replies
        connected.add(receive)
        listening(true)
        await until('it has read what it has missed', () => replies > before)
      },
      disconnect: () => {
        connected.delete(receive)
        listening(false)
      },
    }
  }
  return { redis, replica }
}

await t.test('purges are announced to other replicas', { skip: NO_REDIS }, async (t) => {
  const { redis, replica } = await setup(t)
  const [one, two] = [replica(), replica()]
  await one.connect()
  await two.connect()

  await t.test('a connected replica gets each purge of another once, and none of its own', async (t) => {
    await one.purge('a b')
    await one.purge(null)
    await two.purge('ü\n')
    t.strictSame([one.reported, two.reported], [['ü\n'], ['a b', null]])
  })

  await t.test('one that was not connected gets what it missed, and not what it knows', async (t) => {
    two.disconnect()
    await one.purge('c')
    await one.purge('d')
    await one.purge('c')
    two.reported.length = 0
    await two.connect()
    t.strictSame(two.reported, ['d', 'c'])
    two.disconnect()
    await two.connect()
    t.strictSame(two.reported, ['d', 'c'])
  })

  await t.test('a new replica gets what is purged before it is connected, and nothing older', async (t) => {
    await one.purge('older')
    await sleep(200)
    const three = replica()
    await one.purge('newer')
    await three.connect()
    three.disconnect()
    t.strictSame(three.reported, ['newer'])
  })

  await t.test('a message that comes before what was missed is read hides nothing', async (t) => {
    two.disconnect()
    await one.purge('missed')
    two.reported.length = 0
    two.receive('9999999999999999 another-replica later')
    await two.connect()
    t.strictSame(two.reported, ['later', 'missed'])
  })

  await t.test('a purge of all that was missed is one of all', async (t) => {
    two.disconnect()
    await one.purge('e')
    await one.purge(null)
    two.reported.length = 0
    await two.connect()
    t.strictSame(two.reported, [null])
  })

  await t.test('a message that is none of a replica is ignored', async (t) => {
    two.reported.length = 0
    for (const message of ['', 'x', 'another a', '1 ']) two.receive(message)
    t.strictSame(two.reported, [])
  })

  await t.test('after Redis lost the list nothing is reported, and later purges are', async (t) => {
    two.disconnect()
    await redis.cli('FLUSHALL')
    two.reported.length = 0
    await two.connect()
    await one.purge('after')
    t.strictSame(two.reported, ['after'])
  })

  await t.test('a value of another type instead of the list is replaced', async (t) => {
    await redis.cli('SET', LIST, 'x')
    two.reported.length = 0
    t.equal(await one.purge('replaced'), true)
    t.strictSame(two.reported, ['replaced'])
  })
})

for (const [missed, reported] of [
  [MAX_LISTED - 1, MAX_LISTED - 1],
  [MAX_LISTED, 1],
] as const) {
  await t.test(
    `a replica that missed ${missed} purges drops ${reported === 1 ? 'all stations' : 'each station'}`,
    { skip: NO_REDIS },
    async (t) => {
      const { replica } = await setup(t)
      const [one, two] = [replica(), replica()]
      await two.connect()
      await one.purge('known')
      two.disconnect()
      two.reported.length = 0
      await one.purge(...Array.from({ length: missed }, (_, i) => `s${i}`))
      await two.connect()
      await until('what was missed is reported', () => two.reported.length > 0)
      t.strictSame([two.reported.length, two.reported.includes(null)], [reported, reported === 1])
    },
  )
}

await t.test(
  'a purge while Redis hangs is a 204, and is done for all replicas when Redis is back',
  { skip: NO_REDIS },
  async (t) => {
    const redis = await RedisServer.start(t)
    const start = () => startService(t, { env: { REDIS_URL: redis.url, CACHE_TTL: '1h' } })
    const [purging, other] = [await start(), await start()]
    const isPending = async () => {
      const { text } = await purging.requestAdmin('/status')
      return (JSON.parse(text) as { pendingPurges: number }).pendingPurges > 0
    }
    let id = ''
    // Again if a command took too long on a loaded machine: an answer is not stored then, or not found.
    await until('both have one answer', async () => {
      id = `a${purging.upstream.calls.length}`
      await purging.get(`chargingAvailability=${id}`)
      await other.get(`chargingAvailability=${id}`)
      return other.upstream.callsFor(id) === 0
    })
    redis.pause()
    const { status } = await purging.requestAdmin(`/status/station?id=${id}`, { method: 'DELETE' })
    await purging.get(`chargingAvailability=${id}`)
    t.strictSame([status, purging.upstream.callsFor(id), await isPending()], [204, 2, true])
    redis.resume()
    await until('the purge is done', async () => !(await isPending()))
    t.equal(await redis.cli('EXISTS', `evproxy:1:answer:{${id}}`), '0')
    await until('the other replica has dropped its copy', async () => {
      await other.get(`chargingAvailability=${id}`)
      return other.upstream.callsFor(id) === 1
    })
    await purging.get(`chargingAvailability=${id}`)
    t.equal(purging.upstream.callsFor(id), 2)
    const messages = purging.proxy.logs.map(({ msg }) => msg)
    t.ok(messages.includes('kept purges applied to the shared cache'))
  },
)
