import { byId, element, setText } from './dom.js'
import { bytes, count, duration, isExtended, latency, percent, rate } from './format.js'

/**
 * The tiles. `read` returns the value, its unit, a line below and, for a tile with a meter, a share from 0 to 1.
 * @type {readonly (readonly [name: string, read: (report: any, recent: any) => any])[]}
 */
const TILES = [
  [
    'Requests',
    (_, { requests }) => ({ value: rate(requests), unit: '/ s', more: 'mean of the last minute' }),
  ],
  [
    'Cache hit ratio',
    ({ totals }, { hitRatio }) => ({
      value: percent(totals.heldRatio),
      unit: 'since start',
      more: `${percent(hitRatio)} in the last 10 min`,
    }),
  ],
  [
    'Upstream calls saved',
    ({ totals }) => ({
      value: count(totals.callsSaved),
      unit: 'since start',
      more: `${count(totals.lookups)} lookups, ${count(totals.calls)} calls`,
    }),
  ],
  [
    'Upstream latency',
    ({ upstream }) => ({
      value: latency(upstream.latency.p50Ms),
      unit: 'p50',
      more: `${latency(upstream.latency.p99Ms)} p99, ${count(upstream.latency.calls)} calls in 10 min`,
    }),
  ],
  [
    'Upstream calls',
    ({ upstream }, { calls }) => ({
      value: rate(calls),
      unit: upstream.callsPerSecond === null ? '/ s, no limit' : `/ s of ${upstream.callsPerSecond}`,
      more: `${upstream.inFlight} in flight, ${upstream.queued} queued`,
      share: upstream.callsPerSecond === null ? null : calls / upstream.callsPerSecond,
    }),
  ],
  [
    'Current TTL',
    ({ cache, quota }) => ({
      value: duration(cache.effectiveTtlMs),
      unit: '',
      more: isExtended(cache)
        ? `extended by quota pacing from ${duration(cache.ttlMs)}`
        : quota === null
          ? 'as configured'
          : 'as configured, not extended by quota pacing',
    }),
  ],
  [
    'Cached stations',
    ({ cache }) => ({
      value: count(cache.entries),
      unit: `of ${count(cache.maxEntries)}`,
      more: `${bytes(cache.bytes)} of ${bytes(cache.maxBytes)}`,
      share: Math.max(cache.entries / cache.maxEntries, cache.bytes / cache.maxBytes),
    }),
  ],
  [
    'Live updates',
    ({ live }) => ({
      value: count(live.stream),
      unit: live.maxStreams === 0 ? 'streams, off' : live.stream === 1 ? 'stream' : 'streams',
      more: `${count(live.long_poll)} long polls, ${count(live.stations)} stations watched`,
      share: live.maxStreams === 0 ? null : (live.stream + live.long_poll) / live.maxStreams,
    }),
  ],
  [
    'Memory',
    ({ memory, memory: { waiting } }) => ({
      value: bytes(memory.residentBytes ?? memory.heapUsedBytes),
      unit: memory.residentBytes === null ? 'heap' : 'resident',
      more: `heap ${bytes(memory.heapUsedBytes)} of ${bytes(memory.heapLimitBytes)}, waiting ${bytes(waiting.bytes)} of ${bytes(waiting.limitBytes)}`,
      share: memory.heapUsedBytes / memory.heapLimitBytes,
    }),
  ],
]

const tiles = TILES.map(([name, read]) => ({ ...tile(name), read }))

/** Updates the tiles. `recent` has means over the last minute and the hit ratio of the last ten minutes. */
export function showTiles(report, recent) {
  for (const { value, unit, more, meter, fill, read } of tiles) {
    const shown = read(report, recent)
    setText(value, shown.value)
    setText(unit, shown.unit)
    setText(more, shown.more)
    meter.hidden = shown.share === undefined || shown.share === null
    if (!meter.hidden) fill.style.width = `${Math.min(100, shown.share * 100).toFixed(1)}%`
  }
}

function tile(name) {
  const value = element('span', {}, '–')
  const unit = element('small')
  const more = element('p', { className: 'more' })
  const fill = element('i')
  const meter = element('div', { className: 'meter', hidden: true }, fill)
  byId('tiles').append(
    element(
      'div',
      { className: 'tile' },
      element('p', { className: 'name' }, name),
      element('p', { className: 'value' }, value, unit),
      more,
      meter,
    ),
  )
  return { value, unit, more, meter, fill }
}
