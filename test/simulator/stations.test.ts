import t from 'tap'
import { COUNTS } from '../../src/simulator/model.ts'
import { CONNECTOR_TYPES } from '../../src/simulator/stations.ts'
import type { Body } from './support.ts'
import { IDS, NOON, bodyOf, generated, get, started } from './support.ts'

await t.test('the generated stations', async (t) => {
  await t.test('an id has the same station in every simulator', async (t) => {
    const [one, other] = [await started(t), await started(t)]
    const query = 'chargingAvailability=00112233-4455-6677-8899-aabbccddeeff'
    t.same(await bodyOf(one, query), await bodyOf(other, query))
    t.notSame(generated('a').connectors, generated('b').connectors)
  })

  await t.test('the occupancy follows the injected clock, connectors and powers never change', async (t) => {
    let now = NOON
    const simulator = await started(t, { now: () => now, changeSpeed: 1_000 })
    const seen: Body[] = []
    for (let day = 0; day < 10; day++) {
      seen.push(await bodyOf(simulator, 'chargingAvailability=station-1'))
      now += 24 * 3_600_000
    }
    t.equal(new Set(seen.map((body) => JSON.stringify(body))).size, 10)
    t.equal(new Set(seen.map((body) => JSON.stringify(built(body)))).size, 1)
  })

  await t.test('a total is the sum of current, and current is the sum of the rows', async (t) => {
    const all = IDS.flatMap((id) => generated(id).connectors)
    const sums = all.map(({ availability }) =>
      COUNTS.map((name) => availability.perPowerLevel.reduce((sum, row) => sum + row[name], 0)),
    )
    t.same(
      all.map(({ availability }) => COUNTS.map((name) => availability.current[name])),
      sums,
    )
    t.same(
      all.map(({ total }) => total),
      sums.map((counts) => counts.reduce((sum, points) => sum + points, 0)),
    )
  })

  await t.test(
    'a station has 1 to 4 different documented connectors, each with 1 to 4 rising powers',
    async (t) => {
      const stations = IDS.map((id) => generated(id).connectors)
      const types = stations.map((connectors) => connectors.map(({ type }) => type))
      const levels = stations.flat().map(({ availability }) => availability.perPowerLevel)
      const powers = levels.map((rows) => rows.map(({ powerKW }) => powerKW))
      const isFrom1To4 = ({ length }: readonly unknown[]) => length >= 1 && length <= 4
      t.ok(types.every(isFrom1To4) && powers.every(isFrom1To4))
      t.same(
        types,
        types.map((names) => [...new Set(names)]),
      )
      t.same(
        powers,
        powers.map((all) => [...new Set(all)].toSorted((a, b) => a - b)),
      )
      const names = [...new Set(types.flat())]
      t.same(names.toSorted(), Object.keys(CONNECTOR_TYPES).toSorted(), 'every type occurs')
      t.equal(names.length, 14)
      const usual = [3.7, 11, 22, 22.2, 50, 150, 350]
      t.same(
        usual.filter((power) => !powers.flat().includes(power)),
        [],
        'usual powers occur',
      )
    },
  )

  await t.test('an unknown id is a 200 without connectors', async (t) => {
    const simulator = await started(t)
    const ids = ['1', 'unknown', 'unknown-7', 'a,b']
    const found = ids.map(async (id) => {
      const response = await get(simulator, `chargingAvailability=${encodeURIComponent(id)}`)
      return [response.status, await response.text()]
    })
    t.same(
      await Promise.all(found),
      ids.map((id) => [200, `{"connectors":[],"chargingAvailability":"${id}"}`]),
    )
  })

  await t.test('an id with unusual characters is a station', async (t) => {
    const simulator = await started(t)
    const ids = ['528009004256789', 'AbCdEf_-0123456789xyzQ', 'ü &<"😀', 'Unknown']
    const bodies = await Promise.all(
      ids.map((id) => bodyOf(simulator, `chargingAvailability=${encodeURIComponent(id)}`)),
    )
    t.same(
      bodies.map(({ chargingAvailability }) => chargingAvailability),
      ids,
    )
    t.ok(bodies.every(({ connectors }) => connectors.length > 0))
  })
})

/** What does not change: types, totals and powers. */
function built({ connectors }: Body) {
  return connectors.map(({ type, total, availability }) => {
    const powers = availability.perPowerLevel.map(({ powerKW }) => powerKW)
    return [type, total, powers]
  })
}
