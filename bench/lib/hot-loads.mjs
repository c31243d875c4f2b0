/** What is asked of servers that have everything already. */
import { filteredTargets, plainTargets } from './stations.mjs'

const TARGETS = 5_000
/** With 3,200 spellings of filters, which the proxy remembers having read; caches by URL hold all of the requests. */
const FILTERED_TARGETS = 8_000

/** Requests for a server on that port; the last kind must ask it first for the tags it gives out. */
const KINDS = {
  hits: () => plainTargets(TARGETS).map((target) => ({ target })),
  filters: () => filteredTargets(FILTERED_TARGETS).map((target) => ({ target })),
  gzip: () => plainTargets(TARGETS).map((target) => ({ target, headers: { 'accept-encoding': 'gzip' } })),
  'not modified': async (port) => {
    const tags = new Map()
    for (const target of new Set(plainTargets(TARGETS))) {
      const answer = await fetch(`http://127.0.0.1:${port}${target}`, {
        headers: { 'accept-encoding': 'identity' },
      })
      await answer.arrayBuffer()
      tags.set(target, answer.headers.get('etag') ?? '"none"')
    }
    return plainTargets(TARGETS).map((target) => ({
      target,
      headers: { 'if-none-match': tags.get(target) },
    }))
  },
}

export const HOT_LOADS = Object.keys(KINDS)

/** The load's requests; null where the server cannot give such answers and sends everything in full. */
export async function requestsFor(load, port) {
  const requests = await KINDS[load](port)
  return (await speaks(load, port, requests[0])) ? requests : null
}

async function speaks(load, port, { target, headers }) {
  const ask = async () => {
    const answer = await fetch(`http://127.0.0.1:${port}${target}`, {
      headers: { 'accept-encoding': 'identity', ...headers },
    })
    await answer.arrayBuffer()
    return answer
  }
  await ask()
  const answer = await ask()
  if (load === 'gzip') return answer.headers.get('content-encoding') === 'gzip'
  return answer.status === (load === 'not modified' ? 304 : 200)
}
