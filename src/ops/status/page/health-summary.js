import { count, duration, isExtended, minute, moment, percent } from './format.js'

const WORST_FIRST = ['bad', 'warn', 'ok']
/** Share of failed requests, or of client errors, from which on the level is raised by one. */
const HIGH_RATIO = 0.05

/**
 * The health of the service as messages, the worst first; never empty.
 * @param report of /status
 * @param lastMinute numbers of requests in the last minute: `{ all, error, stale_error, client_error }`
 */
export function healthSummary(report, lastMinute) {
  const messages = [
    ...phase(report),
    ...upstream(report),
    ...sharedCache(report),
    ...quota(report),
    ...settings(report),
    ...requests(lastMinute),
    ...clientErrors(lastMinute),
  ]
  if (messages.every(({ level }) => level === 'ok')) messages.unshift(note('No problems'))
  return messages.toSorted((a, b) => WORST_FIRST.indexOf(a.level) - WORST_FIRST.indexOf(b.level))
}

function phase({ phase }) {
  if (phase === 'draining') return [warn('Draining: this instance finishes its requests and then stops')]
  if (phase === 'starting') return [warn('Starting: not ready yet')]
  return []
}

function upstream({ now, upstream: { circuit, outage, refusal: rejection, staleUntil } }) {
  const messages = []
  if (rejection !== null) {
    const status = rejection.status === null ? '' : ` with ${rejection.status}`
    const pause = rejection.until > now ? `; calls are paused for ${duration(rejection.until - now)}` : ''
    messages.push(
      bad(`Upstream rejects calls${status} since ${moment(rejection.since)}${pause}: ${rejection.diagnosis}`),
    )
  }
  const since = outage === null ? '' : ` since ${moment(outage.since)}`
  const reason = outage === null || outage.reason === null ? '' : `; last error: ${outage.reason}`
  if (circuit === 'open') {
    const probe =
      outage === null || outage.probeAt === null ? '' : `; next probe ${nextProbe(outage.probeAt - now)}`
    messages.push(
      bad(`Upstream fails${since}: the circuit breaker is open, no calls are sent${probe}${reason}`),
    )
  }
  if (circuit === 'half_open') {
    messages.push(
      warn(`Upstream fails${since}: the circuit breaker is half open, a single probe is in flight${reason}`),
    )
  }
  if (staleUntil !== null) {
    messages.push(
      staleUntil > now
        ? warn(`Stale answers last until ${moment(staleUntil)} at the latest, errors follow`)
        : bad(`The last stale answers expired at ${moment(staleUntil)}`),
    )
  }
  return messages
}

/** Without traffic no probe is sent, whatever the time. */
function nextProbe(inMs) {
  return inMs > 0 ? `in ${duration(inMs)}` : 'with the next request'
}

function sharedCache({ sharedTierUp, pendingPurges, settings }) {
  const messages = []
  if (sharedTierUp === false) {
    messages.push(
      'STATE_DIR' in settings.inForce
        ? warn('STATE_DIR cannot be used: this process shares no answers with others and stores none')
        : warn('Redis cannot be reached: this instance shares no answers, rate limit or quota with others'),
    )
  }
  if (pendingPurges !== 0) {
    const what = pendingPurges === 'all' ? 'all stations' : stations(pendingPurges)
    messages.push(warn(`The purge of ${what} waits for the shared cache; in this process it is done`))
  }
  return messages
}

function stations(number) {
  return number === 1 ? 'a station' : `${count(number)} stations`
}

function quota({ quota, cache }) {
  if (quota === null) return []
  const { remaining, resetAt, forecast } = quota
  if (remaining < 1) return [bad(`The quota is exhausted until ${minute(resetAt)}`)]
  if (forecast !== null && forecast.isRationing) {
    return [warn(`Calls are rationed: those that are left are released evenly until ${minute(resetAt)}`)]
  }
  const { shortfall } = forecast ?? { shortfall: null }
  if (shortfall !== null) return [warn(tooSmall(shortfall))]
  if (!isExtended(cache)) return []
  return [
    note(`Quota pacing extends the TTL from ${duration(cache.ttlMs)} to ${duration(cache.effectiveTtlMs)}`),
  ]
}

function tooSmall({ stations, callsNeeded, quota, maxTtlMs }) {
  return `The quota of ${quota} is too small: at a CACHE_MAX_TTL of ${duration(maxTtlMs)}, ${count(stations)} stations need ${count(callsNeeded)} calls`
}

function settings({ settings: { problem } }) {
  if (problem === null) return []
  return [warn(`SETTINGS_FILE is not applied, the last valid settings stay in force: ${problem}`)]
}

function requests({ all, error, stale_error: stale }) {
  const messages = []
  if (error > 0) {
    const text = `${count(error)} of ${count(all)} requests in the last minute failed (${percent(error / all)})`
    messages.push(error / all >= HIGH_RATIO ? bad(text) : warn(text))
  }
  if (stale > 0) {
    const text =
      stale === 1 ? '1 stale answer replaced an error' : `${count(stale)} stale answers replaced errors`
    messages.push(warn(`${text} in the last minute`))
  }
  return messages
}

function clientErrors({ all, client_error: errors }) {
  if (errors === 0) return []
  const text = `${count(errors)} of ${count(all)} requests in the last minute were client errors, listed below`
  return [errors / all >= HIGH_RATIO ? warn(text) : note(text)]
}

const bad = (text) => ({ level: 'bad', text })
const warn = (text) => ({ level: 'warn', text })
const note = (text) => ({ level: 'ok', text })
