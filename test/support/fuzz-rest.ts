import type { FuzzedService } from './fuzz-target.ts'
import { ensure } from './fuzz-target.ts'
import { request } from './request.ts'

/* Whether a service has returned everything that its clients took, once they are gone. */

/** What is 0 at rest. */
const NOTHING = [
  'evproxy_waiting_bytes',
  'evproxy_upstream_in_flight',
  'evproxy_upstream_queue_length',
  'evproxy_event_streams{kind="stream"}',
  'evproxy_event_streams{kind="long_poll"}',
  'evproxy_watched_stations',
]
/** What is about as much as at the start: descriptors, connections and timers of the process. */
const FEW = [
  'process_open_fds',
  'nodejs_active_resources{type="TCPSocketWrap"}',
  'nodejs_active_resources{type="Timeout"}',
]
/** Idle connections to upstream (UPSTREAM_MAX_CONNECTIONS), and some of Node's own. */
const MORE = 20
/** The longest timeout of a call, of a client that closes slowly, and the checks of the server, with a reserve. */
const REST_MS = 10_000
const POLL_MS = 50

export type Levels = ReadonlyMap<string, number>

/** The present values. Where nothing of a kind is open, prom-client has no sample of it. */
export async function levelsOf({ adminUrl }: Pick<FuzzedService, 'adminUrl'>): Promise<Levels> {
  const { text } = await request(adminUrl, '/metrics')
  const samples = new Map(
    text.split('\n').map((line) => {
      const end = line.lastIndexOf(' ')
      return [line.slice(0, end), Number(line.slice(end + 1))] as const
    }),
  )
  for (const name of NOTHING) ensure('a sample', samples.has(name), name)
  return new Map([...NOTHING, ...FEW].map((name) => [name, samples.get(name) ?? 0]))
}

/** What is higher than at rest, as text. */
export function aboveRest(levels: Levels, atStart: Levels | null): string[] {
  const levelOf = (name: string) => levels.get(name) ?? 0
  const isFew = (name: string) => atStart === null || levelOf(name) <= (atStart.get(name) ?? 0) + MORE
  const taken = NOTHING.filter((name) => levelOf(name) !== 0)
  const many = FEW.filter((name) => !isFew(name))
  return [...taken, ...many].map((name) => `${name} ${levelOf(name)}`)
}

/**
 * Waits until a service is at rest.
 * @param atStart its levels before the first client; null if other parts of its process have their own
 * @throws Error naming what was not returned
 */
export async function ensureAtRest(
  service: Pick<FuzzedService, 'adminUrl'>,
  atStart: Levels | null,
  withinMs = REST_MS,
): Promise<void> {
  const end = performance.now() + withinMs
  let above = aboveRest(await levelsOf(service), atStart)
  while (above.length > 0 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    above = aboveRest(await levelsOf(service), atStart)
  }
  ensure(`at rest within ${withinMs / 1_000} s`, above.length === 0, above.join(', '))
}
