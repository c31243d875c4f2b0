/*
 * A stream on which nothing happens, behind nginx with default settings. Time is shortened for both: the service's clock runs
 * SPEED times as fast, and nginx's timeout for a silent upstream, 60 s by default, is as much shorter.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Test } from 'tap'
import t from 'tap'
import { Streams } from '../../src/http/streams.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { Watchers } from '../../src/watch/watchers.ts'
import { createTestServer } from '../http/public-server.ts'
import { NGINX, startNginxWith } from '../support/balancer.ts'
import { openStream } from '../support/event-source.ts'
import { missing } from '../support/requirements.ts'
import { until } from '../support/until.ts'

const SPEED = 30
const NGINX_TIMEOUT_MS = 60_000 / SPEED
const COMMENT_EVERY_MS = 15_000 / SPEED
const THREE_MINUTES_MS = 180_000 / SPEED

const fastClock: Clock = {
  ...systemClock,
  after: (ms, callback) => systemClock.after(ms / SPEED, callback),
}
const quietWatchers = { watch: () => () => {}, current: () => null } as unknown as Watchers

/** The configuration has nothing that is not needed to run it in a folder, but the shorter timeout. */
function behindNginx(t: Test, port: number) {
  return startNginxWith(
    t,
    (listen) => `
    pid nginx.pid;
    events {}
    http {
      access_log off;
      proxy_temp_path temp;
      client_body_temp_path temp;
      server {
        listen ${listen};
        location / {
          proxy_pass http://127.0.0.1:${port};
          proxy_read_timeout ${NGINX_TIMEOUT_MS}ms;
        }
      }
    }`,
  )
}

interface Quiet {
  readonly hasEnded: boolean
  readonly comments: number
  /** The longest time for which this process, and so the service, stood still. */
  readonly stalledMs: number
}

/** What three quiet minutes do to a stream. */
async function quietStream(t: Test, url: string): Promise<Quiet> {
  const delay = monitorEventLoopDelay()
  delay.enable()
  const stream = await openStream(t, url, 'chargingAvailability=a')
  await new Promise((resolve) => setTimeout(resolve, THREE_MINUTES_MS))
  delay.disable()
  const comments = stream.raw().split(': \n\n').length - 1
  const quiet = { hasEnded: stream.hasEnded(), comments, stalledMs: delay.max / 1e6 }
  stream.close()
  return quiet
}

await t.test('nginx keeps a stream open through three quiet minutes', { skip: missing(NGINX) }, async (t) => {
  const live = { streams: new Streams(10), watchers: quietWatchers }
  const { app } = await createTestServer(t, {}, { live, clock: fastClock })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const nginx = await behindNginx(t, (app.server.address() as AddressInfo).port)
  let quiet = await quietStream(t, nginx.url)
  // On a busy machine the service itself may have been silent for too long.
  const isSpoilt = () => quiet.stalledMs > NGINX_TIMEOUT_MS - COMMENT_EVERY_MS
  for (let tries = 1; tries < 5 && isSpoilt(); tries++) quiet = await quietStream(t, nginx.url)
  t.notOk(quiet.hasEnded, `${quiet.stalledMs} ms without a turn of the event loop`)
  t.ok(quiet.comments >= 3, `${quiet.comments} comments`)
})

await t.test(
  'nginx ends a stream that is silent for as long as its timeout',
  { skip: missing(NGINX) },
  async (t) => {
    const silent = createServer((_request, response) => response.writeHead(200).flushHeaders()).listen(
      0,
      '127.0.0.1',
    )
    await once(silent, 'listening')
    t.teardown(() => {
      silent.closeAllConnections()
      silent.close()
    })
    const nginx = await behindNginx(t, (silent.address() as AddressInfo).port)
    const stream = await openStream(t, nginx.url, 'chargingAvailability=a')
    await until('it has ended', () => stream.hasEnded())
  },
)
