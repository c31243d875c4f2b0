import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { openApiKey } from '../../../src/upstream/tomtom/api-key.ts'
import { READ_EVERY_MS } from '../../../src/lib/watched-file.ts'
import { settled, TestClock } from '../../support/clock.ts'

const FIRST = 'first-key-0123456789'
const SECOND = 'second-key-0123456789'

/** A key in a file, its events, and a clock to read it again with. */
function watched(file: string) {
  const clock = new TestClock()
  const events: string[] = []
  const observer = {
    keyRotated: () => void events.push('rotated'),
    keyReloadFailed: (reason: string) => void events.push(reason),
  }
  const key = openApiKey({ file }, { clock, observer })
  /** Until the file was read once more; reading is real, so it is waited for and not counted in ticks. */
  const reload = async () => {
    await clock.advance(READ_EVERY_MS)
    while (clock.pending === 0) await settled()
  }
  return { key, clock, events, reload }
}

await t.test('a key that is a value', async (t) => {
  await t.test('a key given as a value never changes and needs no timer', async (t) => {
    const clock = new TestClock()
    const observer = { keyRotated: () => t.fail('rotated'), keyReloadFailed: () => t.fail('unreadable') }
    const key = openApiKey({ value: FIRST }, { clock, observer })
    t.equal(key.current(), FIRST)
    t.strictSame(key.secrets(), [FIRST])
    t.equal(clock.pending, 0)
    key.stop()
    t.equal(key.current(), FIRST)
  })
})

const fileWith = (t: Test, content: string) => `${t.testdir({ key: content })}/key`

await t.test('a key in a file', async (t) => {
  await t.test('a key file is read at the start, without one trailing newline', async (t) => {
    for (const content of [FIRST, `${FIRST}\n`, `${FIRST}\r\n`]) {
      t.equal(watched(fileWith(t, content)).key.current(), FIRST, JSON.stringify(content))
    }
  })

  await t.test('the service does not start with a key file that is missing, empty or invalid', async (t) => {
    t.throws(() => watched('/no/such/file'), /ENOENT/)
    for (const content of ['', '\n', ' ', `${FIRST}\n\n`, `${FIRST} x`, 'ké']) {
      const error = t.throws(
        () => watched(fileWith(t, content)),
        /the file holds no key/,
        JSON.stringify(content),
      )
      t.notMatch((error as Error).message, FIRST)
    }
  })

  await t.test('a changed key file is read within 5 s', async (t) => {
    t.equal(READ_EVERY_MS, 5_000)
    const file = fileWith(t, FIRST)
    const { key, clock, events, reload } = watched(file)
    writeFileSync(file, `${SECOND}\n`)
    await clock.advance(READ_EVERY_MS - 1)
    t.equal(key.current(), FIRST)
    await clock.advance(1)
    while (clock.pending === 0) await settled()
    t.equal(key.current(), SECOND)
    t.strictSame(events, ['rotated'])
    writeFileSync(file, FIRST)
    await reload()
    t.equal(key.current(), FIRST, 'and again')
    t.strictSame(events, ['rotated', 'rotated'])
    key.stop()
  })

  await t.test('a changed key is reported once, an unchanged one never', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, events, reload } = watched(file)
    await reload()
    writeFileSync(file, `${FIRST}\n`)
    await reload()
    t.strictSame(events, [], 'the same key with a newline is the same key')
    writeFileSync(file, SECOND)
    for (let i = 0; i < 3; i++) await reload()
    t.strictSame(events, ['rotated'])
    key.stop()
  })

  await t.test('a key file is followed through a replaced symlink, as Kubernetes rotates', async (t) => {
    const directory = t.testdir({ v1: { key: FIRST }, v2: { key: SECOND } })
    symlinkSync('v1', `${directory}/data`)
    const { key, reload } = watched(`${directory}/data/key`)
    symlinkSync('v2', `${directory}/data.new`)
    renameSync(`${directory}/data.new`, `${directory}/data`)
    await reload()
    t.equal(key.current(), SECOND)
    key.stop()
  })

  await t.test('a key stays in use when its file becomes unusable, which is reported once', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, events, reload } = watched(file)
    for (const content of ['', '\n', 'two words']) {
      writeFileSync(file, content)
      await reload()
      t.equal(key.current(), FIRST, JSON.stringify(content))
    }
    t.match(events, [/the file holds no key/])
    t.equal(events.length, 1)
    rmSync(file)
    await reload()
    await reload()
    t.match(events, [/the file holds no key/, /ENOENT/])
    t.equal(events.length, 2)
    t.equal(key.current(), FIRST)
    key.stop()
  })

  await t.test('a key file that becomes unusable again is reported again', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, events, reload } = watched(file)
    for (const content of ['', FIRST, '', SECOND]) {
      writeFileSync(file, content)
      await reload()
    }
    t.match(events, [/no key/, /no key/, 'rotated'])
    t.equal(key.current(), SECOND)
    key.stop()
  })

  await t.test('reports never include the content of a key file', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, events, reload } = watched(file)
    writeFileSync(file, 'cAnArY and more')
    await reload()
    writeFileSync(file, SECOND)
    await reload()
    t.equal(events.length, 2)
    for (const text of events) t.notMatch(text, /cAnArY|first-key|second-key/)
    key.stop()
  })

  await t.test('every key that was in use is a secret to redact', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, reload } = watched(file)
    t.strictSame(key.secrets(), [FIRST])
    writeFileSync(file, 'no key at all')
    await reload()
    writeFileSync(file, SECOND)
    await reload()
    t.strictSame(key.secrets(), [FIRST, SECOND])
    key.stop()
  })

  await t.test('a stopped key file is not read again', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, clock, events } = watched(file)
    t.equal(clock.pending, 1)
    key.stop()
    t.equal(clock.pending, 0)
    writeFileSync(file, SECOND)
    await clock.advance(10 * READ_EVERY_MS)
    t.equal(key.current(), FIRST)
    t.strictSame(events, [])
    key.stop()
  })
})
