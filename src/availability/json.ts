import { formatDouble } from './number.ts'
import type { Availability } from './model.ts'

/** A power as JSON.stringify writes it. Within a string every quote is escaped, so no text can look like this. */
const POWER = /([{,]"powerKW":)(-?\d[^,}]*)/g

/**
 * The JSON body, minified. Member for member what upstream sent, and `powerKW` with a fraction (`50.0`) as
 * upstream writes doubles, which JSON.stringify cannot do.
 */
export function renderJson(availability: Availability): string {
  return JSON.stringify(availability).replace(
    POWER,
    (_, name: string, power: string) => name + formatDouble(Number(power)),
  )
}
