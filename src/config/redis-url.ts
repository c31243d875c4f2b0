import type { SettingType } from './types.ts'

/** The connection that REDIS_URL describes. */
export type RedisConfig = Endpoint & Topology

interface Endpoint {
  /** One server, all sentinels, or the seed nodes of a cluster; one reachable host is enough. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  /** TLS, verified against Node's trusted certificate authorities. */
  readonly tls: boolean
  /** Null for the default user. */
  readonly username: string | null
  readonly password: string | null
}

type Topology =
  | { readonly kind: 'single'; readonly db: number }
  | { readonly kind: 'sentinel'; readonly name: string; readonly db: number }
  | { readonly kind: 'cluster' }

const URL_FORM = /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@?#]+)(?:\/([^?#]*))?$/
const HOST_FORM = /^([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?$/
const DB_FORM = /^(?:\d{1,5})?$/
const REDIS_PORT = 6379
const SENTINEL_PORT = 26379

/**
 * `redis://[user:password@]host[:port][/db]`, `redis+sentinel://…host[:port],…/name[/db]` and
 * `redis+cluster://…host[:port],…`; each with `rediss` for TLS. Credentials are percent-encoded.
 */
export const redisUrl: SettingType<RedisConfig> = {
  expected:
    'redis://[user:password@]host[:port][/db], redis+sentinel://host,host/name[/db] or redis+cluster://host,host (rediss for TLS)',
  parse: parseRedisUrl,
  mask: (text) => URL_FORM.exec(text)?.[5] ?? '********',
}

/** The problem of a file that should contain the URL; null if it is valid. One trailing newline is ignored. */
export function validateRedisUrl(content: string): string | null {
  return parseRedisUrlFile(content) === undefined ? `expected ${redisUrl.expected} in the file` : null
}

export function parseRedisUrlFile(content: string): RedisConfig | undefined {
  return parseRedisUrl(content.replace(/\r?\n$/, ''))
}

function parseRedisUrl(text: string): RedisConfig | undefined {
  const [matched, s, form = 'single', user, pass, hostList = '', path = ''] = URL_FORM.exec(text) ?? []
  const hosts = parseHosts(hostList, form === 'sentinel' ? SENTINEL_PORT : REDIS_PORT)
  const [username, password] = [decode(user), decode(pass)]
  if (matched === undefined || hosts === undefined || username === undefined || password === undefined) {
    return undefined
  }
  const endpoint = { hosts, tls: s === 's', username, password }
  const [name = '', db = '', ...more] = form === 'sentinel' ? path.split('/') : ['', path]
  if (!DB_FORM.test(db) || more.length > 0) return undefined
  switch (form) {
    case 'cluster':
      return path === '' ? { ...endpoint, kind: 'cluster' } : undefined
    case 'sentinel':
      return name === '' ? undefined : { ...endpoint, kind: 'sentinel', name, db: Number(db) }
    default:
      return hosts.length > 1 ? undefined : { ...endpoint, kind: 'single', db: Number(db) }
  }
}

function parseHosts(list: string, defaultPort: number): RedisConfig['hosts'] | undefined {
  const hosts = list.split(',').map((item) => {
    const [, host = '', port = String(defaultPort)] = HOST_FORM.exec(item) ?? []
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
  })
  return hosts.every(({ host, port }) => host !== '' && port > 0 && port <= 65_535) ? hosts : undefined
}

/** Null if absent, undefined for invalid percent-encoding. */
function decode(text: string | undefined): string | null | undefined {
  if (text === undefined || text === '') return null
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
