/*
 * That each deviation changes what its description says, and nothing else, is proven by test/verify/verdicts.test.ts.
 */
import t from 'tap'
import { DEVIATIONS } from '../../src/simulator/deviations.ts'
import type { StationBody } from '../../src/simulator/model.ts'
import { olderVersion } from '../../src/simulator/stations.ts'
import { bodyOf, generated, get, IDS, started } from './support.ts'

const single = IDS.find((id) => generated(id).connectors.length === 1) as string
const several = IDS.find((id) => generated(id).connectors.length > 1) as string

await t.test(
  'a deviation is set for all calls at the start, or like a fault while the simulator runs',
  async (t) => {
    const etagOf = async (simulator: Awaited<ReturnType<typeof started>>) =>
      (await get(simulator, 'chargingAvailability=a')).headers.get('etag')
    const always = await started(t, { deviations: ['etag'] })
    t.strictSame([await etagOf(always), await etagOf(always)], ['"1"', '"1"'])

    const simulator = await started(t)
    simulator.setFaults({ deviation: 'etag', times: 1 })
    t.strictSame([await etagOf(simulator), await etagOf(simulator)], ['"1"', null])

    simulator.setFaults([{ deviation: 'etag' }, { deviation: 'no-cors', latencyMs: 1 }])
    const { headers } = await get(simulator, 'chargingAvailability=a')
    t.strictSame([headers.get('etag'), headers.get('access-control-allow-origin')], ['"1"', null])

    simulator.setFaults([{ deviation: 'etag' }, { outcome: 'status', status: 503 }])
    t.equal(
      (await get(simulator, 'chargingAvailability=a')).status,
      503,
      'an outcome comes before a deviation',
    )
  },
)

await t.test('a roll-out has two versions by turns, empty ones among them', async (t) => {
  const simulator = await started(t, { deviations: ['roll-out'] })
  const seen = []
  for (let call = 0; call < 4; call++) seen.push(await bodyOf(simulator, `chargingAvailability=${several}`))
  const full = generated(several)
  const older = olderVersion(full as unknown as StationBody)
  t.same(seen, [full, older, full, older])
  const emptied = []
  for (let call = 0; call < 4; call++) {
    emptied.push((await bodyOf(simulator, `chargingAvailability=${single}`)).connectors.length)
    await bodyOf(simulator, `chargingAvailability=${several}`)
  }
  t.same(emptied, [1, 0, 1, 0], 'whatever is asked between its calls')
})

await t.test('a state that the reference does not name is recomputed like the others', async (t) => {
  const row = (powerKW: number, blocked: number) => ({ powerKW, available: 1, blocked })
  const current = { available: 2, blocked: 5 }
  const one = { type: 'A', total: 7, availability: { current, perPowerLevel: [row(11, 2), row(22, 3)] } }
  const simulator = await started(t, { stations: (id) => ({ connectors: [one], chargingAvailability: id }) })
  const { connectors } = await bodyOf(simulator, 'chargingAvailability=a&minPowerKW=20')
  t.match(connectors[0], { total: 4, availability: { current: { available: 1, blocked: 3 } } })
})

await t.test('names of deviations are unique', async (t) => {
  t.equal(new Set(DEVIATIONS).size, DEVIATIONS.length)
})
