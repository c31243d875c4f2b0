import type { Availability } from '../../src/availability/model.ts'

/*
 * What the endpoint's reference prints, written a second time and naively, so that it can judge the renderings:
 * it knows the documented members alone and shares no code with them.
 */

/** Minified JSON, powers with a fraction. */
export function expectedJson(availability: Availability): string {
  return JSON.stringify(availability).replaceAll(/"powerKW":(\d+)(?=[,}])/g, '"powerKW":$1.0')
}

/** XML: the id first, an `<item>` a connector, a `<perPowerLevel><power>` a row. */
export function expectedXml({ chargingAvailability, connectors }: Availability): string {
  const items = connectors.map(({ type, total, availability }) => {
    const rows = (availability.perPowerLevel as Record<string, number>[]).map(
      (row) => `<perPowerLevel><power>${numbers(row)}</power></perPowerLevel>`,
    )
    const current = `<current>${numbers(availability.current as Record<string, number>)}</current>`
    return `<item><type>${type}</type><total>${String(total)}</total><availability>${current}${rows.join('')}</availability></item>`
  })
  const id = `<chargingAvailability>${chargingAvailability}</chargingAvailability>`
  return `<?xml version="1.0" encoding="UTF-8"?><response>${id}<connectors>${items.join('')}</connectors></response>`
}

function numbers(row: Record<string, number>): string {
  return Object.entries(row)
    .map(([name, value]) => `<${name}>${name === 'powerKW' ? withFraction(value) : value}</${name}>`)
    .join('')
}

function withFraction(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : `${value}`
}
