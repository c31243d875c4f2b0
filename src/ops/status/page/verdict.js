import { count, duration, minute, moment, percent } from './format.js'

const WORST_FIRST = ['bad', 'warn', 'ok']
/** From this share of failing requests on it is an incident, below it is a blemish. */
const MANY = 0.05

/**
 * What there is to say about the service, the worst first; never empty.
 * @param report of /status
 * @param lastMinute requests of the last minute: `{ all, error, stale_error, client_error }`
 */
export function findings(report, lastMinute) {
  const found = [
    ...phase(report),
    ...upstream(report),
    ...sharedTier(report),
    ...quota(report),
    ...requests(lastMinute),
    ...clients(lastMinute),
  ]
  if (found.every(({ level }) => level !== 'bad' && level !== 'warn')) {
    found.unshift({ level: 'ok', text: 'Everything is in order' })
  }
  return found.toSorted((a, b) => WORST_FIRST.indexOf(a.level) - WORST_FIRST.indexOf(b.level))
}

function phase({ phase }) {
  if (phase === 'draining') return [warn('Draining: this instance finishes what it has and then stops')]
  if (phase === 'starting') return [warn('Starting: not all listeners are open yet')]
  return []
}

function upstream({ now, upstream: { circuit, refusal } }) {
  const found = []
  if (refusal !== null) {
    const answer = refusal.status === null ? '' : ` with ${refusal.status}`
    const next = refusal.until > now ? `; no call for ${duration(refusal.until - now)}` : ''
    found.push(
      bad(`Upstream refuses our calls${answer} since ${moment(refusal.since)}${next}: ${refusal.diagnosis}`),
    )
  }
  if (circuit === 'open') found.push(bad('Upstream fails: the circuit is open, no calls are made for now'))
  if (circuit === 'half_open') found.push(warn('Upstream failed: one call is out to see whether it is back'))
  return found
}

function sharedTier({ sharedTierUp }) {
  if (sharedTierUp !== false) return []
  return [
    warn('The shared tier (Redis) cannot be reached: nothing is shared, this instance keeps to its own part'),
  ]
}

function quota({ quota, cache }) {
  if (quota === null) return []
  const { remaining, resetAt, projection } = quota
  if (remaining < 1) return [bad(`The quota is spent until ${minute(resetAt)}`)]
  if (projection !== null && projection.spentAtMs !== null) {
    return [warn(`At the present rate the quota is spent by ${minute(projection.spentAtMs)}`)]
  }
  if (cache.effectiveTtlMs <= cache.ttlMs) return []
  return [
    note(`The quota stretches the TTL from ${duration(cache.ttlMs)} to ${duration(cache.effectiveTtlMs)}`),
  ]
}

function requests({ all, error, stale_error: old }) {
  const found = []
  if (error > 0) {
    const text = `${count(error)} of ${count(all)} requests of the last minute failed (${percent(error / all)})`
    found.push(error / all >= MANY ? bad(text) : warn(text))
  }
  if (old > 0) found.push(warn(`${count(old)} old answers stood in for errors within the last minute`))
  return found
}

function clients({ all, client_error: wrong }) {
  if (wrong === 0) return []
  const text = `Clients got ${count(wrong)} of ${count(all)} requests of the last minute wrong; they are listed below`
  return [wrong / all >= MANY ? warn(text) : note(text)]
}

const bad = (text) => ({ level: 'bad', text })
const warn = (text) => ({ level: 'warn', text })
const note = (text) => ({ level: 'ok', text })
