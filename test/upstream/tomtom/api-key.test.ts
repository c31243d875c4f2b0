import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { openApiKey } from '../../../src/upstream/tomtom/api-key.ts'
import { READ_EVERY_MS } from '../../../src/lib/watched-file.ts'
import { settled, TestClock } from '../../support/clock.ts'

const FIRST = 'first-key-0123456789'
const SECOND = 'second-key-0123456789'

/** A key in a file, what was told of it, and a clock to read it again with. */
function watched(file: string) {
  const clock = new TestClock()
  const told: string[] = []
  const observer = {
    keyRotated: () => void told.push('rotated'),
    keyReloadFailed: (reason: string) => void told.push(reason),
  }
  const key = openApiKey({ file }, { clock, observer })
  /** Until the file was read once more; reading is real, so it is waited for and not counted in ticks. */
  const readAgain = async () => {
    await clock.advance(READ_EVERY_MS)
    while (clock.pending === 0) await settled()
  }
  return { key, clock, told, readAgain }
}

await t.test('a key that is a value', async (t) => {
  await t.test('is in force for good, and nothing waits', async (t) => {
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
  await t.test('is read at the start, less one trailing newline', async (t) => {
    for (const content of [FIRST, `${FIRST}\n`, `${FIRST}\r\n`]) {
      t.equal(watched(fileWith(t, content)).key.current(), FIRST, JSON.stringify(content))
    }
  })

  await t.test(
    'refuses to start when the file is missing, empty or no key, and repeats no content',
    async (t) => {
      t.throws(() => watched('/no/such/file'), /ENOENT/)
      for (const content of ['', '\n', ' ', `${FIRST}\n\n`, `${FIRST} x`, 'ké']) {
        const error = t.throws(
          () => watched(fileWith(t, content)),
          /the file holds no key/,
          JSON.stringify(content),
        )
        t.notMatch((error as Error).message, FIRST)
      }
    },
  )

  await t.test('is taken up when it changes, every 5 s and not before', async (t) => {
    t.equal(READ_EVERY_MS, 5_000)
    const file = fileWith(t, FIRST)
    const { key, clock, told, readAgain } = watched(file)
    writeFileSync(file, `${SECOND}\n`)
    await clock.advance(READ_EVERY_MS - 1)
    t.equal(key.current(), FIRST)
    await clock.advance(1)
    while (clock.pending === 0) await settled()
    t.equal(key.current(), SECOND)
    t.strictSame(told, ['rotated'])
    writeFileSync(file, FIRST)
    await readAgain()
    t.equal(key.current(), FIRST, 'and again')
    t.strictSame(told, ['rotated', 'rotated'])
    key.stop()
  })

  await t.test('is told once when it changed, and not at all when it did not', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, told, readAgain } = watched(file)
    await readAgain()
    writeFileSync(file, `${FIRST}\n`)
    await readAgain()
    t.strictSame(told, [], 'the same key with a newline is the same key')
    writeFileSync(file, SECOND)
    for (let i = 0; i < 3; i++) await readAgain()
    t.strictSame(told, ['rotated'])
    key.stop()
  })

  await t.test('is followed through a swapped symlink, as Kubernetes rotates', async (t) => {
    const directory = t.testdir({ v1: { key: FIRST }, v2: { key: SECOND } })
    symlinkSync('v1', `${directory}/data`)
    const { key, readAgain } = watched(`${directory}/data/key`)
    symlinkSync('v2', `${directory}/data.new`)
    renameSync(`${directory}/data.new`, `${directory}/data`)
    await readAgain()
    t.equal(key.current(), SECOND)
    key.stop()
  })

  await t.test(
    'stays in force when the file is empty, no key or gone later; each trouble is told once',
    async (t) => {
      const file = fileWith(t, FIRST)
      const { key, told, readAgain } = watched(file)
      for (const content of ['', '\n', 'two words']) {
        writeFileSync(file, content)
        await readAgain()
        t.equal(key.current(), FIRST, JSON.stringify(content))
      }
      t.match(told, [/the file holds no key/])
      t.equal(told.length, 1)
      rmSync(file)
      await readAgain()
      await readAgain()
      t.match(told, [/the file holds no key/, /ENOENT/])
      t.equal(told.length, 2)
      t.equal(key.current(), FIRST)
      key.stop()
    },
  )

  await t.test('a trouble that is over is told again when it comes back', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, told, readAgain } = watched(file)
    for (const content of ['', FIRST, '', SECOND]) {
      writeFileSync(file, content)
      await readAgain()
    }
    t.match(told, [/no key/, /no key/, 'rotated'])
    t.equal(key.current(), SECOND)
    key.stop()
  })

  await t.test('what is told repeats no content', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, told, readAgain } = watched(file)
    writeFileSync(file, 'cAnArY and more')
    await readAgain()
    writeFileSync(file, SECOND)
    await readAgain()
    t.equal(told.length, 2)
    for (const text of told) t.notMatch(text, /cAnArY|first-key|second-key/)
    key.stop()
  })

  await t.test('every key that was in force is known, for none may ever be shown', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, readAgain } = watched(file)
    t.strictSame(key.secrets(), [FIRST])
    writeFileSync(file, 'no key at all')
    await readAgain()
    writeFileSync(file, SECOND)
    await readAgain()
    t.strictSame(key.secrets(), [FIRST, SECOND])
    key.stop()
  })

  await t.test('a stopped one is read no more', async (t) => {
    const file = fileWith(t, FIRST)
    const { key, clock, told } = watched(file)
    t.equal(clock.pending, 1)
    key.stop()
    t.equal(clock.pending, 0)
    writeFileSync(file, SECOND)
    await clock.advance(10 * READ_EVERY_MS)
    t.equal(key.current(), FIRST)
    t.strictSame(told, [])
    key.stop()
  })
})
