/*
 * A stream on which nothing happens, behind nginx with default settings. Time is shortened for both: the service's clock runs
 * SPEED times as fast, and nginx's timeout for a silent upstream, 60 s by default, is as much shorter.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { Streams } from '../../src/http/live/streams.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { systemClock } from '../../src/lib/clock.ts'
import type { Watchers } from '../../src/watch/watchers.ts'
import { createTestServer } from '../http/public-server.ts'
import { NGINX, startNginxWith } from '../support/balancer.ts'
import { openStream } from '../support/event-source.ts'
import { missing } from '../support/requirements.ts'
import { until } from '../support/until.ts'

const SPEED = 15
const NGINX_TIMEOUT_MS = 60_000 / SPEED
/** Of 15 s each: half a minute more than the timeout of nginx. */
const COMMENTS = 6
/** Silences of the service that are shorter than this do not let nginx's timeout pass. */
const TOLERATED_MS = 0.75 * NGINX_TIMEOUT_MS

/** When the service's timers have run, and so its comments were sent. */
const ranAt: number[] = []
const fastClock: Clock = {
  ...systemClock,
  after: (ms, callback) =>
    systemClock.after(ms / SPEED, () => {
      ranAt.push(performance.now())
      callback()
    }),
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
  readonly status: number
  readonly hasEnded: boolean
  /** The longest time in which the service did nothing, as on a machine that is too busy. */
  readonly silenceMs: number
}

/** What a minute and a half without an event do to a stream. */
async function quietStream(t: Test, url: string): Promise<Quiet> {
  ranAt.splice(0, Infinity, performance.now())
  const stream = await openStream(t, url, 'chargingAvailability=a')
  const comments = () => stream.raw().split(': \n\n').length - 1
  await until('all comments', () => comments() >= COMMENTS || stream.hasEnded(), 30_000)
  const times = [...ranAt, performance.now()]
  const silenceMs = Math.max(...times.slice(1).map((time, i) => time - (times[i] as number)))
  const quiet = { status: stream.status, hasEnded: stream.hasEnded(), silenceMs }
  stream.close()
  return quiet
}

await t.test(
  'nginx keeps a stream open that is quiet for longer than its timeout',
  { skip: missing(NGINX) },
  async (t) => {
    const live = { streams: new Streams(10), watchers: () => quietWatchers }
    const { app } = await createTestServer(t, {}, { live, clock: fastClock })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const nginx = await behindNginx(t, (app.server.address() as AddressInfo).port)
    let quiet = await quietStream(t, nginx.url)
    const isSpoilt = () => quiet.hasEnded && quiet.silenceMs > TOLERATED_MS
    for (let tries = 1; tries < 5 && isSpoilt(); tries++) quiet = await quietStream(t, nginx.url)
    t.match(quiet, { status: 200, hasEnded: false }, nginx.log())
  },
)

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
