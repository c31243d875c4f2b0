/**
 * How likely a station's answer is the same after some time.
 *
 * Cars come at random and stay for about a time S; points are many enough that few cars are turned away. The number of
 * cars is then a Poisson number with a mean M(t), the load, that follows the hour of the day (the queue M_t/M/∞). Of the
 * M(t) cars of a moment a share q = e^(−a/S) is still there after a time a. So the difference of the two numbers is that of
 * two independent Poisson numbers: cars that left, M(t) (1 − q) on average, and cars that came, M(t + a) − M(t) q. It is 0
 * with the probability e^(−(l + c)) I₀(2 √(l c)) (Skellam 1946). An answer is the same if that holds for each type of
 * connector.
 *
 * So answers that are a day apart are more often equal than answers of a night and a day, and at night more often than by
 * day: the hour of the comparison teaches what is not seen between rare calls, and a change that was undone meanwhile is
 * part of the probability.
 */
const DAY_MS = 86_400_000
/** Types of connectors of a station: about two, with half of the cars each. */
const TYPES = 2
/** Of the cars that come in a constant day: demand that falls faster than cars leave is taken for this. */
const MIN_ARRIVALS = 0.1

export interface OccupancyByHour {
  /** The logarithm of the time in s that a car stays. */
  readonly logStayS: number
  /** The load is proportional to e^(cosine cos t + sine sin t), t going once round in a UTC day. */
  readonly cosine: number
  readonly sine: number
}

/** A comparison of an answer with one that is older by `ageMs`. `atMs` is in ms since the epoch. */
export interface Comparison {
  readonly ageMs: number
  readonly atMs: number
}

/** Roots of the mean numbers of cars that left and that came, for a load of one car per type of connector. */
export interface Turnover {
  readonly left: number
  readonly came: number
}

/** Null for an age of 0: nothing has happened. */
export function turnoverOf(hours: OccupancyByHour, { ageMs, atMs }: Comparison): Turnover | null {
  if (ageMs <= 0) return null
  const staying = Math.exp(-ageMs / 1000 / Math.exp(hours.logStayS))
  const [before, now] = [loadAt(hours, atMs - ageMs), loadAt(hours, atMs)]
  const came = Math.max(now * (1 - staying) * MIN_ARRIVALS, now - before * staying)
  return { left: Math.sqrt(before * (1 - staying)), came: Math.sqrt(came) }
}

/** `load`: the mean number of cars over the day. */
export function chanceOfSame(load: number, turnover: Turnover | null): number {
  if (turnover === null) return 1
  const { left, came } = turnover
  const perType = load / TYPES
  return (Math.exp(-perType * (left - came) ** 2) * scaledBesselI0(2 * perType * left * came)) ** TYPES
}

function loadAt({ cosine, sine }: OccupancyByHour, atMs: number): number {
  const angle = (2 * Math.PI * (atMs % DAY_MS)) / DAY_MS
  return Math.exp(cosine * Math.cos(angle) + sine * Math.sin(angle))
}

/** The coefficients of Abramowitz and Stegun, 9.8.1 and 9.8.2, the highest power first. */
const SMALL = [0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1]
const LARGE = [
  0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319, 0.01328592,
  0.39894228,
]
const SPLIT = 3.75

/** e^(−x) I₀(x) for x ≥ 0, to seven digits. */
export function scaledBesselI0(x: number): number {
  if (x < SPLIT) return Math.exp(-x) * polynomial(SMALL, (x / SPLIT) ** 2)
  return polynomial(LARGE, SPLIT / x) / Math.sqrt(x)
}

function polynomial(coefficients: readonly number[], x: number): number {
  let sum = 0
  for (const coefficient of coefficients) sum = sum * x + coefficient
  return sum
}
