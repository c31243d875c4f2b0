import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { RenderingTooLargeError } from '../../src/availability/xml.ts'
import { Answer } from '../../src/cache/answer.ts'
import { EventStream, knownTags } from '../../src/http/live/event-stream.ts'
import { Turns } from '../../src/lib/turns.ts'
import type { CurrentAnswer, Watcher } from '../../src/watch/watcher.ts'
import { settled, TestClock } from '../support/clock.ts'
import { connector, level, station } from '../support/stations.ts'

/** A response whose client reads only when told. */
class FakeResponse extends EventEmitter {
  readonly written: string[] = []
  isFull = false
  ended: 'end' | 'destroy' | null = null

  write(text: string): boolean {
    this.written.push(text)
    return !this.isFull
  }
  end(): void {
    this.ended ??= 'end'
  }
  destroy(): void {
    this.ended ??= 'destroy'
  }
  get text(): string {
    return this.written.join('')
  }
}

function currentOf(id: string, free: number): CurrentAnswer {
  const answer = new Answer(station(id, connector('Type2', level(22, free))))
  return { answer, ageMs: 0, ttlMs: 1, changedAt: 0 }
}

function setupStream(ids: readonly string[], random = 0.5) {
  const clock = new TestClock()
  const response = new FakeResponse()
  const watching = new Map<string, Watcher>()
  const closed: string[] = []
  const watchers = {
    watch: (id: string, watcher: Watcher) => {
      watching.set(id, watcher)
      return () => void watching.delete(id)
    },
    current: () => null,
  }
  const observer = {
    eventSent: () => {},
    streamClosed: (_id: string, reason: string) => void closed.push(reason),
  }
  const filter = { types: null, minPowerKW: null, maxPowerKW: null }
  const stream = new EventStream(
    response as unknown as ServerResponse,
    { trackingId: 'x', ids, filter, known: new Set(), random },
    { watchers, clock, observer, turns: new Turns() },
  )
  stream.start(() => void closed.push('released'))
  const send = async (id: string, free: number) => {
    watching.get(id)?.answered(currentOf(id, free))
    await settled()
  }
  return { clock, response, watching, closed, send, stream }
}

await t.test('a comment is sent every 15 s', async (t) => {
  const { clock, response } = setupStream(['a'])
  await clock.advance(45_000)
  t.strictSame(response.written, ['retry: 5000\n\n', ': \n\n', ': \n\n', ': \n\n'])
})

await t.test('a stream ends by itself after ten minutes, give or take a tenth', async (t) => {
  const lifetime = async (random: number) => {
    const { clock, response, closed, watching } = setupStream(['a'], random)
    let seconds = 0
    for (; response.ended === null && seconds < 700; seconds++) await clock.advance(1_000)
    return [seconds, response.ended, closed.join(), watching.size, clock.pending]
  }
  t.strictSame(
    [await lifetime(0), await lifetime(0.5), await lifetime(0.9999)],
    [
      [540, 'end', 'released,lifetime', 0, 0],
      [600, 'end', 'released,lifetime', 0, 0],
      [660, 'end', 'released,lifetime', 0, 0],
    ],
  )
})

await t.test('the same answer is not sent again', async (t) => {
  const { response, send } = setupStream(['a'])
  await send('a', 1)
  await send('a', 1)
  await send('a', 2)
  t.equal(response.text.match(/event: availability/g)?.length, 2)
})

await t.test('for a client that does not read, only the newest state of each station is kept', async (t) => {
  const { clock, response, send, closed } = setupStream(['a', 'b'])
  response.isFull = true
  await send('a', 1)
  for (let free = 2; free < 100; free++) {
    await send('a', free)
    await send('b', free)
  }
  await clock.advance(20_000)
  t.equal(response.written.length, 2, 'no comment either')
  response.isFull = false
  response.emit('drain')
  await settled()
  t.equal(response.text.match(/event: availability/g)?.length, 3)
  t.match(response.written.at(-1), /"available":99[^]*"available":99/)
  await clock.advance(29_000)
  t.strictSame(closed, [], 'it has read again')
})

await t.test('a client that has not read for 30 s is disconnected', async (t) => {
  const { clock, response, send, closed } = setupStream(['a'])
  response.isFull = true
  await send('a', 1)
  await clock.advance(29_999)
  t.equal(response.ended, null)
  await clock.advance(1)
  t.strictSame([response.ended, closed.join(), clock.pending], ['destroy', 'released,slow', 0])
})

await t.test('events of a turn are written in pieces', async (t) => {
  const ids = Array.from({ length: 100 }, (_, i) => `s${i}`)
  const { response, watching } = setupStream(ids)
  for (const id of ids) watching.get(id)?.answered(currentOf(id, 1))
  for (let turn = 0; turn < 20; turn++) await settled()
  t.equal(response.text.match(/event: availability/g)?.length, 100)
  t.ok(response.written.length > 2 && response.written.length < 20, `${response.written.length} pieces`)
  const last = /id: (\S+)\ndata: [^\n]+\n\n$/.exec(response.text)?.[1]
  t.equal(knownTags(last).size, 100)
})

await t.test('a connection that closes or breaks ends the stream once', (t) => {
  const { response, closed } = setupStream(['a'])
  response.emit('error', new Error('reset'))
  response.emit('close')
  t.strictSame(closed, ['released', 'client'])
  t.end()
})

await t.test('an event id of another form has no tags', (t) => {
  const tag = 'abcdefgh'
  const ids = [
    undefined,
    '',
    '1',
    `1${tag}`,
    `1${tag}${tag}x`,
    `2${tag}`,
    `1${'+'.repeat(8)}`,
    `1${tag.repeat(101)}`,
  ]
  t.strictSame(
    ids.map((id) => knownTags(id).size),
    [0, 0, 0, 1, 0, 0, 0, 0],
  )
  t.end()
})

/** An answer whose rendering is not that of a real one. */
function renderedBy(render: () => { body: string; etag: string }): CurrentAnswer {
  return { answer: { render } as unknown as Answer, ageMs: 0, ttlMs: 1, changedAt: 0 }
}

await t.test('answers that are slow to render are rendered in several turns of the event loop', async (t) => {
  const ids = Array.from({ length: 10 }, (_, i) => `s${i}`)
  const { response, watching } = setupStream(ids)
  let turn = 0
  const turns: number[] = []
  const slow = (id: string) =>
    renderedBy(() => {
      const end = performance.now() + 11
      while (performance.now() < end);
      turns.push(turn)
      return { body: `"${id}"`, etag: `"of-answer-${id}"` }
    })
  for (const id of ids) watching.get(id)?.answered(slow(id))
  for (; turn < 30; turn++) await settled()
  t.equal(response.text.match(/event: availability/g)?.length, 10)
  t.equal(new Set(turns).size, 10)
})

await t.test('an answer that is too large to be rendered is a problem', async (t) => {
  const { response, watching } = setupStream(['a'])
  const tooLarge = renderedBy(() => {
    throw new RenderingTooLargeError()
  })
  watching.get('a')?.answered(tooLarge)
  await settled()
  t.match(response.text, /event: problem\nid: 1\ndata: {"chargingAvailability":"a","statusCode":502,/)
})
