import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { RedisConfig } from '../config/redis-url.ts'
import { backoffMs } from '../lib/backoff.ts'
import { keepErrorListeners } from './socket-errors.ts'

export type Client = Redis | Cluster

const CONNECT_TIMEOUT_MS = 500
const HANDSHAKE_TIMEOUT_MS = 1_000
const INITIAL_RETRY_MS = 200
const MAX_RETRY_MS = 2_000

/**
 * A client that is not connected yet. It fails at once instead of queueing, and reconnects by itself without end. The
 * library is loaded only here, so that a service without Redis does not load it.
 */
export async function createClient(config: RedisConfig): Promise<Client> {
  const { Cluster, Redis } = await loadLibrary()
  const { hosts, tls } = config
  const options = {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // For the handshake, which the circuit breaker does not cover; its own timeout is shorter.
    commandTimeout: HANDSHAKE_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // The circuit breaker's probe checks more, and few users may run INFO.
    enableReadyCheck: false,
    disableClientInfo: true,
    autoResubscribe: false, // the rejection of a connection that closes meanwhile would end the process
    connectionName: 'ev-availability-proxy',
    retryStrategy,
    // After a failover the former primary accepts no writes: another connection finds the new one.
    reconnectOnError: ({ message }: Error) => message.includes('READONLY'),
    ...(config.username !== null && { username: config.username }),
    ...(config.password !== null && { password: config.password }),
    ...(tls && { tls: {} }),
  } satisfies RedisOptions
  switch (config.kind) {
    case 'single':
      return new Redis({ ...options, ...hosts[0], db: config.db })
    case 'sentinel':
      return new Redis({
        ...options,
        db: config.db,
        name: config.name,
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
        // A certificate names a host, and the cluster announces addresses.
        ...(tls && { dnsLookup: (address, callback) => callback(null, address) }),
      })
  }
}

async function loadLibrary() {
  const library = await import('ioredis')
  keepErrorListeners(library.Redis.prototype)
  return library
}

function retryStrategy(attempts: number): number {
  return backoffMs(INITIAL_RETRY_MS, MAX_RETRY_MS, attempts) * (0.75 + Math.random() / 2)
}
