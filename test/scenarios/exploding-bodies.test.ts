import { readFileSync } from 'node:fs'
import t from 'tap'
import { MAX_CONTAINERS } from '../../src/availability/decode.ts'
import { build, Process } from '../support/process.ts'
import { pathFor, request } from '../support/request.ts'
import { ScriptedUpstream } from '../support/scripted-upstream.ts'
import { IMAGE_HEAP, IMAGE_SETTINGS } from '../support/image.ts'
import { until } from '../support/until.ts'

/*
 * Bodies of up to a megabyte that take many times their size in memory when they are decoded and rendered, in a process
 * with the heap of the image. With 150,000 objects and any number of names it ended after a few seconds.
 */

const MAX_BYTES = 2 ** 20 - 400
/** With the pages of Node's own program, which are no memory of a container. */
const MAX_RESIDENT_MB = 180
const STATIONS = 24

/** Pieces with commas between them, at most a megabyte. */
function list(piece: (i: number) => string, count = MAX_BYTES): string {
  const pieces: string[] = []
  for (let bytes = 0; pieces.length < count;) {
    const next = piece(pieces.length)
    bytes += next.length + 1
    if (bytes > MAX_BYTES) break
    pieces.push(next)
  }
  return pieces.join(',')
}

const connectorWith = (availability: string) => `[{"type":"T","total":1,"availability":${availability}}]`
/** The value of `connectors` in each body; in one of them followed by another member. */
const BODIES = {
  'rows in current': connectorWith(`{"current":[${list(() => '{"powerKW":1}')}]}`),
  rows: connectorWith(`{"perPowerLevel":[${list((i) => `{"powerKW":${i}}`)}]}`),
  'as many rows as are accepted': connectorWith(
    `{"perPowerLevel":[${list((i) => `{"powerKW":${i},"available":1}`, MAX_CONTAINERS - 10)}]}`,
  ),
  nesting: connectorWith(`{"perPowerLevel":[${list(() => '[[]]')}]}`),
  'different names in one object': connectorWith(`{"current":{${list((i) => `"n${i}":1`)}}}`),
  'different names in many objects': connectorWith(
    `{"perPowerLevel":[${list((i) => `{"n${i}":1,"m${i}":1}`)}]}`,
  ),
  'different texts': `[],"note":[${list((i) => `"${i}"`)}]`,
  connectors: `[${list((i) => `{"type":"T${i}","availability":{"current":{"available":1}}}`)}]`,
}
const bodies = Object.values(BODIES)

await t.test('the process survives bodies of a megabyte that explode', async (t) => {
  const sent = { bodies: 0 }
  const upstream = await ScriptedUpstream.start(({ id }, response) => {
    const connectors = id.startsWith('plain') ? '[]' : bodies[sent.bodies++ % bodies.length]
    response.setHeader('content-type', 'application/json')
    response.end(`{"chargingAvailability":"${id}","connectors":${connectors}}`)
  })
  t.teardown(() => upstream.stop())
  const service = new Process(await build(), {
    ...IMAGE_SETTINGS,
    NODE_OPTIONS: IMAGE_HEAP,
    TOMTOM_BASE_URL: upstream.origin,
    UPSTREAM_TIMEOUT: '30s',
  })
  t.teardown(() => service.child.kill('SIGKILL'))
  const { url } = await service.urls()

  const ask = (id: string, ext = 'json') => request(url, pathFor(`chargingAvailability=${id}`, ext))
  const statuses: number[] = []
  let plain = 0
  // The circuit may open in the middle of a round: the next one begins once it is closed.
  for (let round = 0; round < 5 && sent.bodies < 16; round++) {
    await until('the circuit is closed', async () => (await ask(`plain${plain++}`)).status === 200)
    await Promise.all(
      Array.from({ length: STATIONS }, async (_, i) => {
        for (const ext of ['json', 'xml']) statuses.push((await ask(`s${round}.${i}`, ext)).status)
      }),
    )
  }
  const seen = new Set(statuses)
  t.ok(seen.has(200) && seen.has(502), 'some are accepted and some rejected')
  t.strictSame(
    [...seen].filter((status) => ![200, 502, 503].includes(status)),
    [],
  )
  t.ok(sent.bodies >= 16, `${sent.bodies} bodies`)
  const status = readFileSync(`/proc/${service.child.pid}/status`, 'utf8')
  const mb = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024
  t.ok(mb < MAX_RESIDENT_MB, `${mb.toFixed(0)} MB`)
  t.equal(service.child.exitCode, null)
})
