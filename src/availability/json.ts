import { formatDouble } from './number.ts'
import type { Availability } from './model.ts'

/** A power as JSON.stringify writes it. Quotes within a string are escaped, so this never matches inside one. */
const POWER = /([{,]"powerKW":)(-?\d[^,}]*)/g

/**
 * The JSON body, minified, with the members that upstream sent in their order. `powerKW` always has a fraction (`50.0`), as
 * upstream writes doubles and JSON.stringify cannot.
 */
export function renderJson(availability: Availability): string {
  return JSON.stringify(availability).replace(
    POWER,
    (_, name: string, power: string) => name + formatDouble(Number(power)),
  )
}
