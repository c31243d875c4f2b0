import { XMLParser } from 'fast-xml-parser'
import t from 'tap'
import type { StationBody } from '../../src/simulator/model.ts'
import type { Body, Counts, Level } from './support.ts'
import { IDS, bodyOf, counts, get, level, started } from './support.ts'

/** What the reference prints. */
const REFERENCE: StationBody = {
  connectors: [
    {
      type: 'IEC62196Type2Outlet',
      total: 2,
      availability: { current: counts(1, 1), perPowerLevel: [level(22.2, 1, 0), level(50, 0, 1)] },
    },
  ],
  chargingAvailability: '75502858-a491-36fe-7128-23d400153b86',
}

await t.test('renderings', async (t) => {
  const simulator = await started(t, { stations: (id) => ({ ...REFERENCE, chargingAvailability: id }) })
  const query = `chargingAvailability=${REFERENCE.chargingAvailability}`

  await t.test("the JSON is the reference's, minified, with fractions for powers", async (t) => {
    const response = await get(simulator, query)
    t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    t.equal(
      await response.text(),
      '{"connectors":[{"type":"IEC62196Type2Outlet","total":2,"availability":{"current":{"available":1,"occupied":1,' +
        '"reserved":0,"unknown":0,"outOfService":0},"perPowerLevel":[{"powerKW":22.2,"available":1,"occupied":0,' +
        '"reserved":0,"unknown":0,"outOfService":0},{"powerKW":50.0,"available":0,"occupied":1,"reserved":0,' +
        '"unknown":0,"outOfService":0}]}}],"chargingAvailability":"75502858-a491-36fe-7128-23d400153b86"}',
    )
  })

  await t.test("the XML is the reference's", async (t) => {
    const response = await get(simulator, query, { ext: 'xml' })
    t.equal(response.headers.get('content-type'), 'application/xml; charset=utf-8')
    t.equal(
      await response.text(),
      '<?xml version="1.0" encoding="UTF-8"?>\n<response>\n' +
        '<chargingAvailability>75502858-a491-36fe-7128-23d400153b86</chargingAvailability>\n' +
        '<connectors>\n<item>\n<type>IEC62196Type2Outlet</type>\n<total>2</total>\n<availability>\n' +
        `<current>\n${countsXml(1, 1)}</current>\n${rowXml('22.2', 1, 0)}${rowXml('50.0', 0, 1)}` +
        '</availability>\n</item>\n</connectors>\n</response>',
    )
  })

  await t.test('the XML parses to the same values as the JSON', async (t) => {
    const simulator = await started(t)
    const ids = IDS.slice(0, 20)
    const json = ids.map((id) => bodyOf(simulator, `chargingAvailability=${id}`))
    const xml = ids.map(async (id) => {
      const response = await get(simulator, `chargingAvailability=${id}`, { ext: 'xml' })
      return readXml(await response.text())
    })
    t.same(await Promise.all(xml), await Promise.all(json))
  })

  await t.test('text in XML is escaped, and characters that XML excludes are replaced', async (t) => {
    const id = '<a>&amp;"\u0001'
    const text = await (
      await get(simulator, `chargingAvailability=${encodeURIComponent(id)}`, { ext: 'xml' })
    ).text()
    t.equal(readXml(text).chargingAvailability, '<a>&amp;"\u{fffd}')
  })

  await t.test('an unknown id has no items in XML', async (t) => {
    const text = await (await get(await started(t), 'chargingAvailability=1', { ext: 'xml' })).text()
    t.match(text, '<chargingAvailability>1</chargingAvailability>\n<connectors/>\n</response>')
  })
})

function countsXml(available: number, occupied: number): string {
  return (
    `<available>${available}</available>\n<occupied>${occupied}</occupied>\n<reserved>0</reserved>\n` +
    '<unknown>0</unknown>\n<outOfService>0</outOfService>\n'
  )
}

function rowXml(power: string, available: number, occupied: number): string {
  const members = `<powerKW>${power}</powerKW>\n${countsXml(available, occupied)}`
  return `<perPowerLevel>\n<power>\n${members}</power>\n</perPowerLevel>\n`
}

/** XML back into the shape of JSON. */
function readXml(text: string): Body {
  const arrays = new Set(['item', 'perPowerLevel'])
  const parser = new XMLParser({ isArray: (name) => arrays.has(name), parseTagValue: false })
  const { response } = parser.parse(text) as { response: RawXml }
  return {
    connectors: response.connectors.item.map(({ type, total, availability }) => ({
      type,
      total: Number(total),
      availability: {
        current: numbers(availability.current),
        perPowerLevel: availability.perPowerLevel.map(({ power }) => numbers(power) as Level),
      },
    })),
    chargingAvailability: response.chargingAvailability,
  }
}

interface RawXml {
  chargingAvailability: string
  connectors: {
    item: {
      type: string
      total: string
      availability: {
        current: Record<string, string>
        perPowerLevel: { power: Record<string, string> }[]
      }
    }[]
  }
}

function numbers(texts: Record<string, string>): Counts {
  const entries = Object.entries(texts).map(([name, text]) => [name, Number(text)])
  return Object.fromEntries(entries) as Counts
}
