import type { Availability } from './model.ts'

/**
 * A power that JSON.stringify writes without a fraction: all digits before an exponent or the end. Quotes within a string
 * are escaped, so this never matches inside one.
 */
const WHOLE_POWER = /([{,]"powerKW":-?\d+)(?=[,}e])/g

/**
 * The JSON body, minified, with the members that upstream sent in their order. `powerKW` always has a fraction (`50.0`), as
 * upstream writes doubles and JSON.stringify cannot.
 */
export function renderJson(availability: Availability): string {
  return JSON.stringify(availability).replace(WHOLE_POWER, '$1.0')
}
