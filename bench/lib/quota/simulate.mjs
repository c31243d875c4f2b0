/** Runs traffic through a policy and compares every answer with the truth. */
const DAY = 86_400_000
const WINDOW = 300_000

/**
 * A policy is `{ serve(station, at), calls(), estimate?(at) }`. `serve` gives the age of the answer in ms, NaN when the
 * request is refused, or a promise of one; `estimate` is the expected share of correct answers of the last 5 minutes.
 *
 * One element a day: `{ requests, refused, wrong, calls, ages, estimate }`, the last as a sum over the answers.
 */
export async function simulate({ world, traffic, policy }) {
  const days = Array.from({ length: world.days }, () => ({
    requests: 0,
    refused: 0,
    wrong: 0,
    calls: 0,
    ages: [],
    estimate: { sum: 0, answers: 0, right: 0 },
  }))
  let windowEnd = WINDOW
  const inWindow = { answers: 0, right: 0 }
  let callsBefore = 0
  for (let i = 0; i < traffic.at.length; i++) {
    const at = traffic.at[i]
    const station = traffic.station[i]
    const day = days[Math.floor(at / DAY)]
    if (at >= windowEnd) {
      closeWindow(days[Math.floor((windowEnd - 1) / DAY)], policy.estimate?.(windowEnd) ?? null, inWindow)
      windowEnd = (Math.floor(at / WINDOW) + 1) * WINDOW
    }
    const served = policy.serve(station, at)
    const age = typeof served === 'number' ? served : await served
    const isWrong =
      station >= 0 && age > 0 && world.at(station, at) !== world.at(station, Math.max(0, at - age))
    day.calls += policy.calls() - callsBefore
    callsBefore = policy.calls()
    if (!Number.isNaN(age)) {
      inWindow.answers++
      if (!isWrong) inWindow.right++
    }
    if (traffic.isCounted[i] === 1) count(day, age, isWrong)
  }
  return days
}

function count(day, age, isWrong) {
  day.requests++
  if (Number.isNaN(age)) {
    day.refused++
    return
  }
  if (isWrong) day.wrong++
  day.ages.push(age)
}

/** The estimate counts by the answers of its window, as the truth does. */
function closeWindow({ estimate }, ratio, inWindow) {
  if (ratio !== null && inWindow.answers > 0) {
    estimate.sum += ratio * inWindow.answers
    estimate.answers += inWindow.answers
    estimate.right += inWindow.right
  }
  inWindow.answers = 0
  inWindow.right = 0
}

/** The figures of some days: shares of the requests, ages in s of those answered, calls a day. */
export function summarize(days) {
  const sum = (member) => days.reduce((total, day) => total + day[member], 0)
  const requests = sum('requests')
  const ages = Float64Array.from(days.flatMap((day) => day.ages)).toSorted()
  const quantile = (part) => (ages[Math.floor(ages.length * part)] ?? Number.NaN) / 1_000
  const estimates = days.map(({ estimate }) => estimate).filter(({ answers }) => answers > 0)
  const errors = estimates.map(({ sum, answers, right }) => (sum - right) / answers)
  return {
    right: 1 - (sum('refused') + sum('wrong')) / requests,
    wrong: sum('wrong') / requests,
    refused: sum('refused') / requests,
    meanAge: ages.reduce((total, age) => total + age, 0) / ages.length / 1_000,
    medianAge: quantile(0.5),
    p90Age: quantile(0.9),
    calls: sum('calls') / days.length,
    mostCalls: Math.max(...days.map(({ calls }) => calls)),
    /** Of the day with the largest error. */
    estimateError: errors.length === 0 ? null : errors.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)),
  }
}
