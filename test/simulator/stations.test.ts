import t from 'tap'
import { COUNTS } from '../../src/simulator/model.ts'
import { CONNECTOR_TYPES, SLOT_MS } from '../../src/simulator/stations.ts'
import type { Body } from './support.ts'
import { IDS, NOON, bodyOf, generated, get, started } from './support.ts'

await t.test('stations', async (t) => {
  await t.test('the same id is the same station, here and in another simulator', async (t) => {
    const [one, other] = [await started(t), await started(t)]
    const query = 'chargingAvailability=00112233-4455-6677-8899-aabbccddeeff'
    t.same(await bodyOf(one, query), await bodyOf(other, query))
    t.notSame(generated('a').connectors, generated('b').connectors)
  })

  await t.test('occupancy moves from slot to slot and not within one; what is built stays', async (t) => {
    const slot = Math.floor(NOON / SLOT_MS) * SLOT_MS
    let moved = 0
    for (const id of IDS) {
      const [first, last, next] = [
        generated(id, slot),
        generated(id, slot + SLOT_MS - 1),
        generated(id, slot + SLOT_MS),
      ]
      t.same(last, first)
      t.same(built(next), built(first))
      if (JSON.stringify(next) !== JSON.stringify(first)) moved++
    }
    t.ok(moved > IDS.length * 0.8, `${moved} of ${IDS.length} moved`)
  })

  await t.test('the time is that of the injected clock', async (t) => {
    let now = NOON
    const simulator = await started(t, { now: () => now })
    const before = await bodyOf(simulator, 'chargingAvailability=station-1')
    now += SLOT_MS
    t.notSame(await bodyOf(simulator, 'chargingAvailability=station-1'), before)
    t.same(await bodyOf(simulator, 'chargingAvailability=station-1'), generated('station-1', now))
  })

  await t.test('a total is the sum of current, and current the sum of the levels', async (t) => {
    for (const { connectors } of IDS.map((id) => generated(id))) {
      for (const { total, availability } of connectors) {
        const sums = COUNTS.map((name) => availability.perPowerLevel.reduce((sum, row) => sum + row[name], 0))
        t.same(
          COUNTS.map((name) => availability.current[name]),
          sums,
        )
        t.equal(
          total,
          sums.reduce((sum, points) => sum + points, 0),
        )
      }
    }
  })

  await t.test('1 to 4 different documented connectors, each with 1 to 4 rising powers', async (t) => {
    const types = new Set<string>()
    const powers = new Set<number>()
    for (const { connectors } of IDS.map((id) => generated(id))) {
      t.ok(connectors.length >= 1 && connectors.length <= 4)
      t.equal(new Set(connectors.map(({ type }) => type)).size, connectors.length)
      for (const { type, availability } of connectors) {
        const levels = availability.perPowerLevel.map(({ powerKW }) => powerKW)
        t.ok(levels.length >= 1 && levels.length <= 4)
        t.same(
          levels,
          [...new Set(levels)].toSorted((a, b) => a - b),
        )
        types.add(type)
        for (const power of levels) powers.add(power)
      }
    }
    t.same([...types].toSorted(), Object.keys(CONNECTOR_TYPES).toSorted(), 'every type occurs')
    t.equal(types.size, 14)
    for (const power of [3.7, 11, 22, 22.2, 50, 150, 350]) t.ok(powers.has(power), `${power} kW occurs`)
  })

  await t.test('an unknown id is a 200 without connectors', async (t) => {
    const simulator = await started(t)
    for (const id of ['1', 'unknown', 'unknown-7', 'a,b']) {
      const response = await get(simulator, `chargingAvailability=${encodeURIComponent(id)}`)
      t.equal(response.status, 200)
      t.equal(await response.text(), `{"connectors":[],"chargingAvailability":"${id}"}`)
    }
  })

  await t.test('ids that merely look odd are stations', async (t) => {
    const simulator = await started(t)
    for (const id of ['528009004256789', 'AbCdEf_-0123456789xyzQ', 'ü &<"😀', 'Unknown']) {
      const body = await bodyOf(simulator, `chargingAvailability=${encodeURIComponent(id)}`)
      t.equal(body.chargingAvailability, id)
      t.ok(body.connectors.length > 0)
    }
  })
})

/** What does not change: types, totals and powers. */
function built({ connectors }: Body) {
  return connectors.map(({ type, total, availability }) => {
    const powers = availability.perPowerLevel.map(({ powerKW }) => powerKW)
    return [type, total, powers]
  })
}
