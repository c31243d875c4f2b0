import { statSync } from 'node:fs'
import t from 'tap'
import {
  publish,
  readAnswerOrLease,
  readAnswers,
  releaseLease,
  sweepLeases,
} from '../../src/state-dir/answer-operations.ts'
import { getCoolDown, setCoolDown } from '../../src/state-dir/cool-down-operations.ts'
import { checkClock, isClockBehind, maintain } from '../../src/state-dir/maintenance.ts'
import { noteUses, recentlyUsed } from '../../src/state-dir/use-order.ts'
import { localStores } from './local-stores.ts'

const ANSWER_BYTES = 4_000_000
const NOW = Date.now()
const answer = (version: string, length = 1_000) => ({
  version,
  json: 'x'.repeat(length),
  ageMs: 1_000,
  startedAgoMs: 1_200,
  changedAt: 0,
  jitter: 1,
})

function contextFor(t: Parameters<typeof localStores>[0]) {
  const { db, path } = localStores(t, ANSWER_BYTES)
  return { db, path, at: (now: number) => ({ db, now, answerBytes: ANSWER_BYTES }) }
}

await t.test(
  'the answers take no more of the disk than they may, and the least recently used go first',
  async (t) => {
    const { at, db, path } = contextFor(t)
    const count = 10_000
    db.env.transactionSync(() => {
      for (let i = 0; i < count / 2; i++) publish(at(NOW + i), `s${i}`, answer(`v${i}`), 3_600_000)
      return null
    })
    db.env.transactionSync(() => {
      for (let i = count / 2; i < count; i++) publish(at(NOW + i), `s${i}`, answer(`v${i}`), 3_600_000)
      return null
    })
    const { size } = statSync(path)
    const overhead = 1_000_000 // one transaction of five thousand answers
    t.ok(size <= 2 * ANSWER_BYTES + overhead, `${size} bytes`)
    const [newest] = recentlyUsed(at(NOW), null, 1)
    t.equal(newest?.[0], `s${count - 1}`)
    t.equal(db.answers.get('s0'), undefined)
    t.ok(recentlyUsed(at(NOW), null, count).length > 1_000)
  },
)

await t.test('the stations are listed by their last use, in portions', async (t) => {
  const { at } = contextFor(t)
  for (const [i, id] of ['a', 'b', 'c'].entries()) publish(at(NOW + i), id, answer(id), 3_600_000)
  noteUses(
    at(NOW + 400_000),
    ['a', 'unknown'].map((id) => ({ id, version: id, station: null })),
  )
  const ids = (list: readonly (readonly [string, number, number])[]) => list.map(([id]) => id)
  const first = recentlyUsed(at(NOW), null, 2)
  t.strictSame(ids(first), ['a', 'c'])
  const [id, usedAt] = first[1] ?? ['', 0]
  t.strictSame(ids(recentlyUsed(at(NOW), [usedAt, id], 2)), ['b'])
})

await t.test('an answer is never younger than it is', async (t) => {
  const { at } = contextFor(t)
  publish(at(NOW), 'a', answer('v'), 3_600_000)
  t.match(readAnswers(at(NOW + 5_000), ['a']), [['a', { ageMs: 6_000, startedAgoMs: 6_200 }]])
  t.strictSame(readAnswers(at(NOW - 2_000), ['a']), [], 'received in the future')
  t.strictSame(readAnswers(at(NOW + 3_600_000), ['a']), [], 'expired')
})

await t.test('a clock that went back drops all answers, and only then', async (t) => {
  const { at, db } = contextFor(t)
  publish(at(NOW), 'a', answer('v'), 3_600_000)
  checkClock(at(NOW))
  checkClock(at(NOW))
  t.ok(db.answers.get('a'))
  t.ok(isClockBehind(at(NOW - 1)))
  checkClock(at(NOW - 1))
  t.equal(db.answers.get('a'), undefined)
  t.notOk(isClockBehind(at(NOW - 1)))
})

await t.test('what is over is removed', async (t) => {
  const { at, db } = contextFor(t)
  publish(at(NOW), 'a', answer('v'), 1_000)
  db.leases.putSync('b', { holder: 'x', at: NOW, until: NOW + 1_000 })
  db.leases.putSync('c', { holder: 'x', at: NOW + 3_600_000, until: NOW + 3_601_000 })
  t.match(readAnswerOrLease(at(NOW), 'b', ''), { kind: 'leased-by-peer' })
  t.equal(readAnswerOrLease(at(NOW), 'c', ''), undefined, 'a lease from before the clock was set back')
  t.equal(sweepLeases(at(NOW), null, 1), 'b')
  maintain(at(NOW + 2_000), 'a')
  t.strictSame([...db.answers.getKeys()], [])
  t.strictSame([...db.leases.getKeys()], [])
})

await t.test('an error takes the place of the lease for its time', async (t) => {
  const { at, db } = contextFor(t)
  db.leases.putSync('a', { holder: 'x', at: NOW, until: NOW + 1_000 })
  releaseLease(at(NOW), 'a', 'other', 'NotFound', 60_000)
  releaseLease(at(NOW), 'a', 'x', 'NotFound', 60_000)
  t.strictSame(readAnswerOrLease(at(NOW + 10_000), 'a', ''), { kind: 'error', code: 'NotFound', ms: 50_000 })
  t.equal(readAnswerOrLease(at(NOW + 60_000), 'a', ''), undefined)
})

await t.test('a cool-down outlives the process without the API key in the file', async (t) => {
  const { at, db } = contextFor(t)
  const coolDown = { code: 'UpstreamRefused', status: 403, diagnosis: 'x', times: 1, waitMs: 5_000 } as const
  t.equal(getCoolDown(at(NOW), 'the key'), null)
  setCoolDown(at(NOW), 'the key', coolDown)
  t.strictSame(getCoolDown(at(NOW + 1_000), 'the key'), { ...coolDown, waitMs: 4_000 })
  t.equal(getCoolDown(at(NOW + 5_000), 'the key'), null)
  t.equal(getCoolDown(at(NOW), 'another key'), null)
  t.notOk([...db.records.getKeys()].some((name) => name.includes('the key')))
})

await t.test('damaged values and keys of the index count as absent', async (t) => {
  const { at, db } = contextFor(t)
  for (const [i, id] of ['a', 'b', 'c'].entries()) publish(at(NOW + i), id, answer(id), 3_600_000)
  db.used.putSync('a', NOW + 0.5)
  db.used.putSync('b', NOW + 50_000)
  for (const key of [5, 'text', [NOW, 7]]) db.order.putSync(key as [number, string], 1)
  noteUses(at(NOW + 400_000), [{ id: 'a', version: 'a', station: null }])
  const ids = () => recentlyUsed(at(NOW), null, 9).map(([id]) => id)
  t.strictSame(ids(), ['c', 'b', 'a'])
  publish(at(NOW + 500_000), 'a', answer('new'), 3_600_000)
  t.strictSame(new Set(ids()), new Set(['a', 'b', 'c']))
  t.equal(ids()[0], 'a')
  maintain(at(NOW + 8_000_000), 'a')
  t.strictSame(ids(), [], 'all are removed when they have expired')
  t.strictSame([...db.answers.getKeys()], [])
})

await t.test('an index with a key that cannot be decoded is built again', async (t) => {
  const { at, db } = contextFor(t)
  for (const [i, id] of ['a', 'b', 'c'].entries()) publish(at(NOW + i), id, answer(id), 3_600_000)
  const bytes = db.order.get([NOW, 'a'])
  const order = db.env.openDB<Buffer, Buffer>('order', { encoding: 'binary', keyEncoding: 'binary' })
  const [key = Buffer.alloc(0)] = Array.from(order.getKeys())
  order.removeSync(key)
  // A number that is no integer, and no 0 after its nine bytes.
  order.putSync(Buffer.from(key.fill(1, 7, 10)), Buffer.from('1'))
  t.throws(() => Array.from(db.order.getKeys()), RangeError)
  t.strictSame(recentlyUsed(at(NOW), null, 9), [
    ['c', NOW + 2, bytes],
    ['b', NOW + 1, bytes],
    ['a', NOW, bytes],
  ])
})
