/** A double as upstream writes it: always with a fraction (`50.0`, `22.2`, `1.0e+21`); `null` if not finite. */
export function formatDouble(value: number): string {
  if (!Number.isFinite(value)) return 'null'
  const text = String(value)
  if (text.includes('.')) return text
  const exponent = text.indexOf('e')
  return exponent === -1 ? `${text}.0` : `${text.slice(0, exponent)}.0${text.slice(exponent)}`
}
