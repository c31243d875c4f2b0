import t from 'tap'
import type { StationBody } from '../../src/simulator/model.ts'
import { bodyOf, counts, level, started } from './support.ts'

await t.test('the filter', async (t) => {
  const station: StationBody = {
    connectors: [
      {
        type: 'Tesla',
        total: 6,
        note: 'kept',
        availability: {
          current: { ...counts(3, 3), since: 'noon' },
          perPowerLevel: [level(22, 1, 0), { ...level(22.2, 2, 1), id: 7 }, level(150, 0, 2)],
        },
      },
      { type: 'Chademo', total: 1, availability: { current: counts(1, 0), perPowerLevel: [level(50)] } },
      { type: 'IEC62196Type3', total: 4, availability: { current: counts(4, 0) } },
      { type: 'FutureType', total: 2, availability: { current: counts(2, 0), perPowerLevel: [] } },
    ],
    chargingAvailability: 'x',
    extra: true,
  }
  const simulator = await started(t, { stations: () => station })
  const filtered = async (query: string) =>
    (await bodyOf(simulator, `chargingAvailability=x&${query}`)).connectors
  const types = async (query: string) => (await filtered(query)).map(({ type }) => type)
  const powers = async (query: string) =>
    (await filtered(query)).flatMap(({ availability }) =>
      availability.perPowerLevel.map((row) => row.powerKW),
    )

  await t.test('a station without a filter is unchanged', async (t) => {
    const queries = ['', 'connectorSet=', 'connectorSet=,,&connectorSet=', 'key=k&other=1']
    t.same(
      await Promise.all(queries.map((query) => bodyOf(simulator, `chargingAvailability=x&${query}`))),
      queries.map(() => station),
    )
  })

  await t.test(
    'connectorSet keeps types, as a list, repeated, or both, in the order of the station',
    async (t) => {
      t.same(await types('connectorSet=Chademo'), ['Chademo'])
      t.same(await types('connectorSet=FutureType,Tesla'), ['Tesla', 'FutureType'])
      t.same(await types('connectorSet=FutureType%2CTesla'), ['Tesla', 'FutureType'])
      t.same(await types('connectorSet=FutureType&connectorSet=Tesla'), ['Tesla', 'FutureType'])
      t.same(await types('connectorSet=Chademo,,Tesla&connectorSet=IEC62196Type3'), [
        'Tesla',
        'Chademo',
        'IEC62196Type3',
      ])
    },
  )

  await t.test('types are compared exactly, and an unknown type matches nothing', async (t) => {
    t.same(await types('connectorSet=tesla'), [])
    t.same(await types('connectorSet=Nothing,Chademo'), ['Chademo'])
  })

  await t.test('connectorSet alone does not change connectors, with rows or without', async (t) => {
    t.same(await filtered('connectorSet=Tesla,IEC62196Type3,FutureType'), [
      station.connectors[0],
      station.connectors[2],
      station.connectors[3],
    ])
  })

  await t.test('the power bounds are both included', async (t) => {
    t.same(await powers('minPowerKW=22.2&maxPowerKW=50'), [22.2, 50])
    t.same(await powers('minPowerKW=22.21&maxPowerKW=49.99'), [])
    t.same(await powers('minPowerKW=50'), [150, 50])
    t.same(await powers('maxPowerKW=22'), [22])
    t.same(await powers('minPowerKW=5.e1&maxPowerKW=1.5e%2B2'), [150, 50])
    t.same(await powers('minPowerKW=.5&maxPowerKW=22.20'), [22, 22.2])
  })

  await t.test('current and total are recomputed from the rows kept, other members stay', async (t) => {
    t.same(await filtered('minPowerKW=22.2&connectorSet=Tesla'), [
      {
        type: 'Tesla',
        total: 5,
        note: 'kept',
        availability: {
          current: { ...counts(2, 3), since: 'noon' },
          perPowerLevel: [{ ...level(22.2, 2, 1), id: 7 }, level(150, 0, 2)],
        },
      },
    ])
    t.equal(
      ((await bodyOf(simulator, 'chargingAvailability=x&minPowerKW=1')) as unknown as StationBody).extra,
      true,
    )
  })

  await t.test('a power bound drops connectors without rows, also those that had none before', async (t) => {
    t.same(await types('minPowerKW=0'), ['Tesla', 'Chademo'])
    t.same(await types('maxPowerKW=50&minPowerKW=50'), ['Chademo'])
    t.same(await types('minPowerKW=400'), [])
  })

  await t.test('a missing or non-numeric count is added as 0 and returned unchanged', async (t) => {
    const odd = { powerKW: 7, available: 'many', occupied: 2, reserved: null }
    const stations = () => ({
      connectors: [{ type: 'Odd', total: 9, availability: { current: counts(9, 9), perPowerLevel: [odd] } }],
      chargingAvailability: 'x',
    })
    const [connector] = (await bodyOf(await started(t, { stations }), 'chargingAvailability=x&minPowerKW=7'))
      .connectors
    t.same(connector, {
      type: 'Odd',
      total: 2,
      availability: { current: counts(0, 2), perPowerLevel: [odd] },
    })
  })
})
