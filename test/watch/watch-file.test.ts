import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { isStationId } from '../../src/availability/query.ts'
import { MAX_FILE_IDS, parseStations, watchStationsOf } from '../../src/watch/watch-file.ts'
import { READ_EVERY_MS } from '../../src/lib/watched-file.ts'
import { TestClock } from '../support/clock.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'

function setupFile(t: Test, content: string | null) {
  const dir = mkdtempSync(join(tmpdir(), 'evproxy-watch-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const file = join(dir, 'stations')
  const write = (text: string) => {
    writeFileSync(`${file}.new`, text)
    renameSync(`${file}.new`, file)
  }
  if (content !== null) write(content)
  return { file, write }
}

function watchIn(t: Test, content: string | null) {
  const { file, write } = setupFile(t, content)
  const clock = new TestClock()
  const watched = new Set<string>()
  const log: string[] = []
  const stop = watchStationsOf(file, {
    watchers: {
      watch: (id) => {
        watched.add(id)
        return () => void watched.delete(id)
      },
    },
    clock,
    isStationId,
    observer: {
      watchFileLoaded: (stations) => void log.push(`${stations} loaded`),
      watchFileLineSkipped: (line, reason) => void log.push(`${line} ${reason}`),
      watchFileFailed: (reason) => void log.push(reason.slice(0, 6)),
    },
  })
  const read = async (text: string) => {
    write(text)
    const lines = log.length
    await clock.advance(READ_EVERY_MS)
    await until('the file is read', () => log.some((line, i) => i >= lines && line.endsWith('loaded')))
    return log.slice(lines)
  }
  return { watched, log, read, stop, clock }
}

await t.test('one id a line; blank lines and comments are skipped, invalid lines are numbered', (t) => {
  const text = `# mine\nA\n\n  B \r\nA\n${'x'.repeat(129)}\n${'y'.repeat(128)}\nz\u0000z\n`
  t.strictSame(parseStations(text, isStationId), {
    ids: ['A', 'B', 'y'.repeat(128)],
    invalid: [6, 8],
    cutAt: null,
  })
  t.strictSame(parseStations('', isStationId), { ids: [], invalid: [], cutAt: null })
  t.end()
})

await t.test('at most 10,000 ids are used', (t) => {
  const lines = Array.from({ length: MAX_FILE_IDS + 2 }, (_, i) => `s${i}`)
  const found = parseStations(lines.join('\n'), isStationId)
  t.strictSame([found.ids.length, found.cutAt], [MAX_FILE_IDS, MAX_FILE_IDS + 1])
  t.equal(parseStations(lines.slice(0, MAX_FILE_IDS).join('\n'), isStationId).cutAt, null)
  t.end()
})

await t.test('a changed file is followed, and an invalid line is logged once', async (t) => {
  const bad = 'x'.repeat(129)
  const { watched, log, read, stop } = watchIn(t, `A\n${bad}\nB\n`)
  t.strictSame([...watched], ['A', 'B'])
  t.strictSame(log, ['2 no station id', '2 loaded'])
  t.strictSame(await read(`B\n${bad}\nC\nD\n`), ['3 loaded'])
  t.strictSame([...watched], ['B', 'C', 'D'])
  stop()
  t.equal(watched.size, 0)
})

await t.test('a file that is missing is read once it is there', async (t) => {
  const { watched, log, read } = watchIn(t, null)
  t.strictSame(log, ['ENOENT', '0 loaded'])
  t.strictSame(await read('A\n'), ['1 loaded'])
  t.strictSame([...watched], ['A'])
})

await t.test('the stations of WATCH_FILE are loaded without a client', async (t) => {
  const { file } = setupFile(t, 'A\nB\n')
  const { proxy, get, upstream } = await startService(t, { env: { WATCH_FILE: file } })
  await until('both are loaded', () => upstream.calls.length === 2)
  await until('both are cached', async () => (await proxy.metric('evproxy_cache_entries')) === 2)
  t.equal(await proxy.metric('evproxy_watched_stations'), 2)
  t.match((await get('chargingAvailability=A')).headers['cache-status'], 'hit')
  t.ok(proxy.logs.some(({ msg, stations }) => msg === 'watched stations loaded' && stations === 2))
})

await t.test('with CACHE_TTL=0 the log says that WATCH_FILE has no effect', async (t) => {
  const { file } = setupFile(t, 'A\n')
  const { proxy } = await startService(t, { env: { WATCH_FILE: file, CACHE_TTL: '0' } })
  t.match(proxy.logs, [{ msg: /^WATCH_FILE not read/, reason: 'CACHE_TTL=0 stores nothing' }])
})
