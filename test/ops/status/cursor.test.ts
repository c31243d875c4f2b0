import t from 'tap'
import { readCursor, START, writeCursor } from '../../../src/ops/status/cursor.ts'

await t.test('a cursor that was written is read back', async (t) => {
  const cursor = { second: 1_795_375_550, failure: 3, clientError: 0, change: 7 }
  t.strictSame(readCursor(writeCursor(cursor)), cursor)
})

await t.test('an invalid cursor means from the start', async (t) => {
  const invalid = [
    '',
    'x',
    '1.2',
    '1.2.3',
    '1.2.3.4.5',
    '-1.2.3.4',
    '1.2.3.4 ',
    '1e3.2.3.4',
    '9'.repeat(40),
    undefined,
    ['1.2.3.4'],
  ]
  t.strictSame(
    invalid.map(readCursor),
    invalid.map(() => START),
  )
})
