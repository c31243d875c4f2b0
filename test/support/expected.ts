import type { Availability } from '../../src/availability/model.ts'

/*
 * An oracle for the renderings: the format of the endpoint's reference, written naively, for the documented members
 * only. It shares no code with the renderings.
 */

/** Minified JSON, powers with a fraction. */
export function expectedJson(availability: Availability): string {
  return JSON.stringify(availability).replaceAll(/"powerKW":(\d+)(?=[,}])/g, '"powerKW":$1.0')
}

/** XML: the id first, an `<item>` per connector, a `<perPowerLevel><power>` per row. */
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
