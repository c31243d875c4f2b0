import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { RedisConfig } from '../config/redis-url.ts'

export type Client = Redis | Cluster

const CONNECT_TIMEOUT_MS = 500
const HANDSHAKE_TIMEOUT_MS = 1_000
const FIRST_RETRY_MS = 200
const LONGEST_RETRY_MS = 2_000

/**
 * A client that fails at once instead of queueing, and connects again by itself for ever. It is not connected yet.
 * The library is loaded only here, so that a service without a shared tier does not carry it.
 */
export async function createClient(target: RedisConfig): Promise<Client> {
  const { Cluster, Redis } = await import('ioredis')
  const { hosts, tls } = target
  const options = {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // For the handshake, of which the gate knows nothing; on all else the gate is stricter.
    commandTimeout: HANDSHAKE_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // The gate's probe asks more than this check does, and INFO is a command that few users are allowed.
    enableReadyCheck: false,
    disableClientInfo: true,
    connectionName: 'ev-availability-proxy',
    retryStrategy,
    // After a failover the old primary takes no writes: another connection finds the new one.
    reconnectOnError: ({ message }: Error) => message.includes('READONLY'),
    ...(target.username !== null && { username: target.username }),
    ...(target.password !== null && { password: target.password }),
    ...(tls && { tls: {} }),
  } satisfies RedisOptions
  switch (target.kind) {
    case 'single':
      return new Redis({ ...options, ...hosts[0], db: target.db })
    case 'sentinel':
      return new Redis({
        ...options,
        db: target.db,
        name: target.name,
        sentinels: hosts.map((host) => ({ ...host })),
        enableTLSForSentinelMode: tls,
        ...(tls && { sentinelTLS: {} }),
        sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
        sentinelRetryStrategy: retryStrategy,
      })
    case 'cluster':
      return new Cluster([...hosts], {
        lazyConnect: true,
        enableOfflineQueue: false,
        enableReadyCheck: false,
        clusterRetryStrategy: retryStrategy,
        slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
        redisOptions: options,
        // A certificate names a host, and the cluster tells addresses.
        ...(tls && { dnsLookup: (address, callback) => callback(null, address) }),
      })
  }
}

function retryStrategy(attempts: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LONGEST_RETRY_MS) * (0.75 + Math.random() / 2)
}
