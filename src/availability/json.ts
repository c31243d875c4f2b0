import { formatDouble } from './double.ts'
import type { Availability } from './model.ts'

/**
 * The JSON body, minified. Member for member what upstream sent, and `powerKW` with a fraction (`50.0`) as
 * upstream writes doubles, which JSON.stringify cannot do.
 */
export function renderJson(availability: Availability): string {
  return writeObject(availability)
}

function write(name: string, value: unknown): string {
  if (typeof value === 'number' && name === 'powerKW') return formatDouble(value)
  if (Array.isArray(value)) return `[${value.map((item) => write('', item)).join(',')}]`
  if (typeof value === 'object' && value !== null) return writeObject(value)
  return JSON.stringify(value)
}

function writeObject(object: object): string {
  const members = Object.entries(object).map(
    ([name, value]) => `${JSON.stringify(name)}:${write(name, value)}`,
  )
  return `{${members.join(',')}}`
}
