/** Stations of one kilobyte of JSON (1,036 bytes), and what is asked of them. */
export const STATIONS = 1_000
export const PATH = '/search/2/chargingAvailability'
const TYPES = ['IEC62196Type2CableAttached', 'IEC62196Type2CCS', 'Chademo']
const LEVELS = [22, 50, 150]

/** An id as long as upstream's UUIDs. */
export const stationId = (number) => `00112233-4455-6677-8899-${String(number).padStart(12, '0')}`

/** What upstream answers for an id. */
export function stationBody(id) {
  const rows = LEVELS.map((powerKW) => ({
    powerKW,
    available: 1,
    occupied: 1,
    reserved: 0,
    unknown: 0,
    outOfService: 0,
  }))
  const connectors = TYPES.map((type, i) => {
    const perPowerLevel = rows.slice(0, i + 1)
    const count = perPowerLevel.length
    const current = { available: count, occupied: count, reserved: 0, unknown: 0, outOfService: 0 }
    return { type, total: 2 * count, availability: { current, perPowerLevel } }
  })
  return JSON.stringify({ connectors, chargingAvailability: id })
}

/** The same numbers in every run (mulberry32). */
export function randomNumbers(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Draws station numbers by Zipf's law. */
export function zipf(random, stations = STATIONS) {
  const weights = Array.from({ length: stations }, (_, rank) => 1 / (rank + 1))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let reached = 0
  const upTo = weights.map((weight) => (reached += weight / total))
  return () => {
    const drawn = random()
    return upTo.findIndex((bound) => drawn < bound)
  }
}

/** Targets without a filter. */
export function plainTargets(count, seed = 1) {
  const draw = zipf(randomNumbers(seed))
  return Array.from(
    { length: count },
    () => `${PATH}.json?key=client&chargingAvailability=${stationId(draw())}`,
  )
}

/** Targets with a random filter, in both formats. */
export function filteredTargets(count, seed = 2) {
  const random = randomNumbers(seed)
  const draw = zipf(random)
  return Array.from({ length: count }, () => filteredTarget(random, draw()))
}

/** A station asked for with a filter as it comes: hardly ever spelled the same twice. */
export function filteredTarget(random, station) {
  const types = TYPES.filter(() => random() < 0.5).toSorted(() => random() - 0.5)
  const set = types.length === 0 ? '' : `&connectorSet=${types.join(random() < 0.5 ? ',' : '%2C')}`
  const least = random() < 0.5 ? `&minPowerKW=${Math.floor(random() * 60)}` : ''
  const most = random() < 0.3 ? `&maxPowerKW=${60 + Math.floor(random() * 200)}.5` : ''
  const ext = random() < 0.5 ? 'json' : 'xml'
  return `${PATH}.${ext}?key=client&chargingAvailability=${stationId(station)}${set}${least}${most}`
}

/** The same six questions by everybody, as the pages of one frontend ask them. */
const FIXED = [
  ['json', ''],
  ['json', '&connectorSet=IEC62196Type2CableAttached'],
  ['json', '&connectorSet=IEC62196Type2CCS,Chademo'],
  ['json', '&minPowerKW=50'],
  ['xml', ''],
  ['xml', '&minPowerKW=22&maxPowerKW=150'],
]

/** A station asked for with one of six filters. */
export function fixedTarget(random, station) {
  const [ext, filter] = FIXED[Math.floor(random() * FIXED.length)]
  return `${PATH}.${ext}?key=client&chargingAvailability=${stationId(station)}${filter}`
}
