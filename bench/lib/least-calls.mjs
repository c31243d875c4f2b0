/**
 * The fewest calls with which one cache could answer all these requests, no answer older than its time: each call at
 * the first request that the answer before cannot serve. No call can do better by coming earlier, for then it serves
 * less of what follows.
 *
 * @param requests `{ at, id }` by rising `at`, in ms
 * @param options.freshMs how long an answer is of use after it came; a function draws it for each answer
 * @param options.latencyMs how long a call takes: requests meanwhile share it, and the answer's time begins after
 * @param options.from calls before this moment are made but not counted
 */
export function leastCalls(requests, { freshMs, latencyMs = 0, from = 0 }) {
  const draw = typeof freshMs === 'function' ? freshMs : () => freshMs
  const servedUntil = new Map()
  let calls = 0
  for (const { at, id } of requests) {
    if (at <= (servedUntil.get(id) ?? -Infinity)) continue
    servedUntil.set(id, at + latencyMs + draw())
    if (at >= from) calls++
  }
  return calls
}
