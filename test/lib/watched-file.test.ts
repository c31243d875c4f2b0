import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { READ_EVERY_MS, watchFile } from '../../src/lib/watched-file.ts'
import { settled, TestClock } from '../support/clock.ts'

/** A file of a number that is watched, with the events about it. */
function watch(file: string) {
  const clock = new TestClock()
  const events: unknown[] = []
  const parsed: string[] = []
  const { current, stop } = watchFile(file, {
    parse: (text) => {
      parsed.push(text)
      if (!/^\d+\n?$/.test(text)) throw new Error('not a number')
      return Number(text)
    },
    isSame: Object.is,
    onChange: (value) => void events.push(value),
    onError: (reason) => void events.push(reason),
    clock,
  })
  /** Resolves after the file was read again. Reading is real I/O, so it is awaited instead of counted in ticks. */
  const reload = async () => {
    await clock.advance(READ_EVERY_MS)
    while (clock.pending === 0) await settled()
  }
  const replace = async (content: string) => {
    writeFileSync(file, content)
    await reload()
  }
  return { clock, events, parsed, current, stop, reload, replace }
}

const fileWith = (t: Test, content: string) => `${t.testdir({ value: content })}/value`

await t.test('the file is read at the start', async (t) => {
  const { current, events, stop } = watch(fileWith(t, '1'))
  t.equal(current(), 1)
  t.strictSame(events, [])
  stop()
})

await t.test('a text that has not changed is not parsed again, unless it follows an error', async (t) => {
  const { events, parsed, reload, replace, stop } = watch(fileWith(t, '1'))
  await replace('2')
  await reload()
  await reload()
  t.strictSame(parsed, ['1', '2'])
  await replace('x')
  await replace('2')
  await reload()
  t.strictSame(parsed, ['1', '2', 'x', '2'])
  t.strictSame(events, [2, 'not a number'])
  stop()
})

await t.test('a missing or invalid file fails the start', async (t) => {
  t.throws(() => watch('/no/such/file'), /ENOENT/)
  t.throws(() => watch(fileWith(t, 'x')), new Error('not a number'))
})

await t.test('a change is found every 5 s and not before', async (t) => {
  t.equal(READ_EVERY_MS, 5_000)
  const file = fileWith(t, '1')
  const { clock, current, events, reload, stop } = watch(file)
  writeFileSync(file, '2')
  await clock.advance(READ_EVERY_MS - 1)
  t.equal(current(), 1)
  await clock.advance(1)
  while (clock.pending === 0) await settled()
  t.equal(current(), 2)
  writeFileSync(file, '3')
  await reload()
  t.strictSame(events, [2, 3])
  stop()
})

await t.test('a value is reported once, and not if only the text has changed', async (t) => {
  const { events, reload, replace, stop } = watch(fileWith(t, '1'))
  await replace('1\n')
  t.strictSame(events, [])
  await replace('2')
  await reload()
  t.strictSame(events, [2])
  stop()
})

await t.test(
  'the value stays while the file is invalid or gone, and each reason is reported once',
  async (t) => {
    const file = fileWith(t, '1')
    const { current, events, reload, replace, stop } = watch(file)
    await replace('x')
    await replace('y')
    rmSync(file)
    await reload()
    await reload()
    t.equal(current(), 1)
    t.match(events, ['not a number', /ENOENT/])
    t.equal(events.length, 2)
    stop()
  },
)

await t.test('an error is reported again after the file was valid', async (t) => {
  const { events, replace, stop } = watch(fileWith(t, '1'))
  for (const content of ['x', '1', 'x', '2']) await replace(content)
  t.strictSame(events, ['not a number', 'not a number', 2])
  stop()
})

await t.test('a swapped symlink is followed', async (t) => {
  const directory = t.testdir({ v1: { value: '1' }, v2: { value: '2' } })
  symlinkSync('v1', `${directory}/data`)
  const { current, reload, stop } = watch(`${directory}/data/value`)
  symlinkSync('v2', `${directory}/data.new`)
  renameSync(`${directory}/data.new`, `${directory}/data`)
  await reload()
  t.equal(current(), 2)
  stop()
})

await t.test('the file is not read after stop', async (t) => {
  const file = fileWith(t, '1')
  const { clock, current, stop } = watch(file)
  t.equal(clock.pending, 1)
  stop()
  t.equal(clock.pending, 0)
  writeFileSync(file, '2')
  await clock.advance(10 * READ_EVERY_MS)
  t.equal(current(), 1)
  stop()
})
