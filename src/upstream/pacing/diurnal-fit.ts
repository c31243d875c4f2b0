/** The demand at an hour of the day, from 0 to 24. */
export interface HourlyDemand {
  readonly hour: number
  readonly demand: number
}

/** With fewer points a curve would show nothing. */
const MIN_POINTS = 4
/** Weight of a flat day, in points: two hours do not show the swing of a whole day yet. */
const RIDGE_PENALTY = 0.3
/** The fit never exceeds the busiest hour seen by more than this factor. */
const MAX_GROWTH = 1.5

/**
 * The expected demand at hours that were never seen, from those that were. Demand has a daily cycle, so a wave of 24
 * hours, `a + b cos + c sin`, is fitted by least squares (ridge regression on b and c) and bounded by the quietest hour
 * seen and {@link MAX_GROWTH} times the busiest. Null with too few points.
 */
export function fitDailyDemand(seen: readonly HourlyDemand[]): ((hour: number) => number) | null {
  if (seen.length < MIN_POINTS) return null
  const equations: number[][] = [
    [0, 0, 0, 0],
    [0, RIDGE_PENALTY, 0, 0],
    [0, 0, RIDGE_PENALTY, 0],
  ]
  for (const { hour, demand } of seen) {
    const terms = wave(hour)
    for (const [i, row] of equations.entries()) {
      for (const [j, term] of [...terms, demand].entries()) {
        row[j] = (row[j] as number) + (terms[i] as number) * term
      }
    }
  }
  const factors = solve(equations)
  const demands = seen.map(({ demand }) => demand)
  const [least, most] = [Math.min(...demands), Math.max(...demands) * MAX_GROWTH]
  return (hour) => {
    const fitted = wave(hour).reduce((sum, term, i) => sum + term * (factors[i] as number), 0)
    return Math.min(most, Math.max(least, fitted))
  }
}

function wave(hour: number): [number, number, number] {
  const angle = (hour / 24) * 2 * Math.PI
  return [1, Math.cos(angle), Math.sin(angle)]
}

/** Gaussian elimination; the ridge keeps every pivot above zero. Each row ends in its right-hand side. */
function solve(rows: readonly number[][]): number[] {
  const at = (i: number, j: number) => rows[i]?.[j] as number
  for (let i = 0; i < rows.length; i++) {
    for (let k = i + 1; k < rows.length; k++) {
      const factor = at(k, i) / at(i, i)
      for (let j = i; j <= rows.length; j++) (rows[k] as number[])[j] = at(k, j) - factor * at(i, j)
    }
  }
  const solution: number[] = []
  for (let i = rows.length - 1; i >= 0; i--) {
    let rest = at(i, rows.length)
    for (let j = i + 1; j < rows.length; j++) rest -= at(i, j) * (solution[j] as number)
    solution[i] = rest / at(i, i)
  }
  return solution
}
