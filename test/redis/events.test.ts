import t from 'tap'
import { timed } from '../support/timed.ts'
import { openStream } from '../support/event-source.ts'
import { startProxy } from '../support/proxy.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { ScriptedUpstream, sendJson } from '../support/scripted-upstream.ts'
import { connector, level, station } from '../support/stations.ts'

await t.test(
  'a change that one replica finds reaches the streams of another',
  { skip: NO_REDIS },
  async (t) => {
    let free = 1
    const redis = await RedisServer.start(t)
    const upstream = await ScriptedUpstream.start(({ id }, response) =>
      sendJson(response, station(id, connector('Chademo', level(50, free)))),
    )
    const env = { REDIS_URL: redis.url, CACHE_TTL: '500ms', CACHE_STALE_WHILE_REVALIDATE: '0' }
    const [one, other] = [await startProxy(upstream.origin, env), await startProxy(upstream.origin, env)]
    t.teardown(async () => {
      await upstream.stop()
      await Promise.all([one.stop(), other.stop()])
    })
    const stream = await openStream(t, other.url, 'chargingAvailability=a')
    await stream.received(1)
    const calls = upstream.calls.length
    free = 7
    await new Promise((resolve) => setTimeout(resolve, 600))
    await one.get('chargingAvailability=a')
    const {
      answer: [, event],
      activeMs,
    } = await timed(stream.received(2))
    t.ok(activeMs < 2_000, `${activeMs} ms`)
    t.match(JSON.stringify(event?.data), '"available":7')
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.equal(upstream.calls.length, calls + 1, 'at the cost of one call')
  },
)
