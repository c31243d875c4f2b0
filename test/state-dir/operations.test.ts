import { dirname } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { open } from 'lmdb'
import { getCoolDown, setCoolDown } from '../../src/state-dir/cool-down-operations.ts'
import { bySpace, hasSpace } from '../../src/state-dir/disk-space.ts'
import { executeAll } from '../../src/state-dir/execute.ts'
import type { Reply, Request } from '../../src/state-dir/execute.ts'
import { maintain } from '../../src/state-dir/maintenance.ts'
import { listProcess, processCount } from '../../src/state-dir/process-list.ts'
import { applyQuota } from '../../src/state-dir/quota-operations.ts'
import { noteStation, withStation } from '../../src/state-dir/station-record.ts'
import { callArrived, passGate } from '../../src/state-dir/token-operations.ts'
import type { QuotaUpdate } from '../../src/upstream/state/quota-store.ts'
import { clockHistoryContract } from '../upstream/state/clock-history.contract.ts'
import { localStores } from './local-stores.ts'

const NOW = Date.now()

function setup(t: Test) {
  const { db, path } = localStores(t)
  return { db, path, at: (now: number) => ({ db, now, answerBytes: 1e7 }) }
}

await t.test('no more calls are sent within the time of a token than there are tokens', (t) => {
  const { at } = setup(t)
  const waits = [0, 1, 999, 1_000, 1_000, 1_001].map((ms) => passGate(at(NOW + ms), 2, 1_000).waitMs)
  t.strictSame(waits, [0, 0, 1, 0, 1, 0])
  t.end()
})

await t.test('a call that arrives later than it was sent delays the one that follows on its token', (t) => {
  const { at } = setup(t)
  const { number } = passGate(at(NOW), 1, 1_000)
  callArrived(at(NOW + 80), number)
  callArrived(at(NOW + 20), number)
  callArrived(at(NOW + 20), number + 1)
  t.equal(passGate(at(NOW + 1_000), 1, 1_000).waitMs, 80)
  t.equal(passGate(at(NOW + 1_080), 1, 1_000).waitMs, 0)
  t.end()
})

await t.test('calls that were sent while the clock was ahead delay none, and few are kept', (t) => {
  const { at, db } = setup(t)
  passGate(at(NOW + 3_600_000), 1, 1_000)
  t.equal(passGate(at(NOW), 1, 1_000).waitMs, 0)
  for (let i = 1; i < 50; i++) passGate(at(NOW + i * 1_000), 1, 1_000)
  t.ok([...db.sent.getKeys()].length <= 3)
  t.end()
})

await t.test('processes are listed every four seconds and for ten', (t) => {
  const { at } = setup(t)
  t.notOk(listProcess(at(NOW), 'a'))
  t.ok(listProcess(at(NOW + 3_999), 'a'))
  t.notOk(listProcess(at(NOW + 4_000), 'a'))
  t.notOk(listProcess(at(NOW + 9_000), 'b'))
  const counts = [9_000, 13_999, 14_000, 19_000].map((ms) => processCount(at(NOW + ms)))
  t.strictSame(counts, [2, 2, 1, 1])
  t.equal(processCount(at(NOW - 1)), 1, 'a clock that went back')
  t.end()
})

await t.test('a cool-down stays in force while the clock is set back by at most a second', (t) => {
  const { at } = setup(t)
  const coolDown = { code: 'TooManyRequests', status: 429, diagnosis: 'too fast', times: 1 } as const
  setCoolDown(at(NOW), 'key', { ...coolDown, waitMs: 5_000 })
  const waits = [0, -1, -1_000, -1_001].map((ms) => getCoolDown(at(NOW + ms), 'key')?.waitMs ?? null)
  t.strictSame(waits, [5_000, 5_001, 6_000, null])
  t.end()
})

const usage = (limit = 100) => ({
  per: 'month' as const,
  limit,
  change: { kind: 'acquire', leave: null, client: null } as const,
  lastSeen: null,
  unreported: { calls: 0, reported: 0, period: null },
  made: { charged: 0, refunded: 0, period: null },
})

await t.test('a process is listed once, whether or not it counts calls', (t) => {
  const { at } = setup(t)
  t.equal(maintain(at(NOW), 'a'), 1)
  t.match(applyQuota(at(NOW), usage(), 'a'), { processes: 1 })
  t.equal(maintain(at(NOW), 'b'), 2, 'without a quota')
  t.end()
})

await t.test('the reply to a process has the number of those that count', (t) => {
  const { at } = setup(t)
  t.match(applyQuota(at(NOW), usage(), 'a'), { spent: 1, processes: 1 })
  t.match(applyQuota(at(NOW), usage(), 'b'), { spent: 2, processes: 2 })
  const update = { ...usage(), change: { kind: 'none' } as const }
  t.match(applyQuota(at(NOW + 1_000), update, 'a'), { spent: 2, processes: 2 })
  t.end()
})

await t.test('a damaged record counts as absent and is repaired by the next', (t) => {
  const { at, db, path } = setup(t)
  const damaged = open({ path, noSubdir: true, encoding: 'binary', overlappingSync: false })
  damaged.openDB('records', { encoding: 'binary' }).putSync('quota:month', Buffer.from('{"spent'))
  t.equal(db.records.get('quota:month'), undefined)
  t.match(applyQuota(at(NOW), usage(), 'a'), { spent: 1, waitMs: 0 })
  t.match(applyQuota(at(NOW), usage(), 'a'), { spent: 2 })
  t.end()
})

await t.test('of what two processes know of a station the longer observation is kept', (t) => {
  const { db } = setup(t)
  const answer = { version: 'v', json: '', ageMs: 0, startedAgoMs: 0, jitter: 1, changedAt: 0 }
  const state = { servedAgesS: 0, changes: 1, weight1024ths: 1_024, evidence: 0 }
  const note = (version: string, served: number, watchedS: number) =>
    noteStation(db, 'a', { ...state, version, served, watchedS })
  t.equal(withStation(db, 'a', answer).station, undefined)
  note('v', 5, 100)
  note('v', 4, 100)
  t.match(withStation(db, 'a', answer).station, { served: 5 })
  note('w', 1, 90)
  t.match(withStation(db, 'a', answer).station, { served: 5, watchedS: 100 })
  note('w', 1, 120)
  t.match(withStation(db, 'a', answer).station, { served: 0, watchedS: 120 })
  t.match(withStation(db, 'a', { ...answer, version: 'w' }).station, { served: 1 })
  t.end()
})

await t.test('a disk without space for the answers still counts', (t) => {
  const { path } = setup(t)
  const dir = dirname(path)
  t.ok(hasSpace(dir))
  t.notOk(hasSpace(dir, Number.MAX_SAFE_INTEGER))
  const request = (name: Request['name'], args: readonly unknown[] = []) => ({ number: 1, name, args })
  const [quota, renew] = [request('quota'), request('renew')]
  const huge = request('publish', ['a', { json: { length: Number.MAX_SAFE_INTEGER / 4 } }])
  t.strictSame(bySpace(dir, [quota, renew]), { possible: [quota, renew], impossible: [] })
  t.strictSame(bySpace(dir, [quota, huge, renew]), { possible: [quota], impossible: [huge, renew] })
  t.strictSame(bySpace('/nonexistent', [huge]), { possible: [huge], impossible: [] })
  t.end()
})

await t.test('an error in one request of a batch undoes all, and each gets it', (t) => {
  const { db } = setup(t)
  const replies: Reply[] = []
  const purge = { number: 1, name: 'purge', args: ['a'] } as const
  const failing = { number: 2, name: 'noteUses', args: [null] } as const
  executeAll(db, 1e7, [purge, failing], (reply) => replies.push(reply))
  t.match(replies, [
    { number: 1, error: { message: String } },
    { number: 2, error: { message: String } },
  ])
  t.equal(db.purged.get('a'), undefined)
  t.end()
})

await t.test('what was spent is kept whatever the clock has shown', async (t) => {
  const { at, db } = setup(t)
  await clockHistoryContract(t, async () => {
    for (const database of [db.records, db.clients]) database.clearSync()
    let now = 0
    let replicas = 0
    const open = () => {
      const replica = `replica ${++replicas}`
      const apply = async (update: QuotaUpdate) => applyQuota(at(now), update, replica)
      return { isUp: true, apply }
    }
    return { open, setClock: (wallMs) => void (now = wallMs) }
  })
})
