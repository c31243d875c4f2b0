/** Where the shared tier is, as REDIS_URL says it. */
export type RedisTarget = Endpoint & Topology

interface Endpoint {
  /** One server; or the sentinels, or the nodes of a cluster, of which one that answers is enough. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  /** TLS, verified against Node's trusted authorities. */
  readonly tls: boolean
  /** Null stands for the default user. */
  readonly username: string | null
  readonly password: string | null
}

type Topology =
  | { readonly kind: 'single'; readonly db: number }
  | { readonly kind: 'sentinel'; readonly name: string; readonly db: number }
  | { readonly kind: 'cluster' }
