import { setMaxListeners } from 'node:events'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { LookupResult } from '../../cache/cache.ts'
import { asServiceError, malformedRequest, ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { ByteBudget } from '../../lib/byte-budget.ts'
import type { Clock } from '../../lib/clock.ts'
import { countUnsent, mayKeepAlive } from '../../lib/connection.ts'
import { MAX_BODY_BYTES } from '../../lib/request-body.ts'
import { Turns } from '../../lib/turns.ts'
import type { Admit } from '../admission.ts'
import { abortOnDisconnect, ClientDisconnectedError } from '../client-disconnect.ts'
import type { CacheGet } from '../concurrency-limit.ts'
import { BATCH_PATH, isBatchPath } from '../paths.ts'
import { QueryCache } from '../query-cache.ts'
import type { RawQuery } from '../request-context.ts'
import { CONTENT_TYPE, matchesEtag, wantsGzip } from '../response-headers.ts'
import { renderBatch } from './batch-body.ts'
import type { BatchBody, ItemResult } from './batch-body.ts'
import type { BatchItem } from './batch-items.ts'
import { parseBatch } from './batch-items.ts'

export interface BatchOptions {
  /** Time in ms after which items without an answer get an error or a stale answer. */
  readonly batchDeadlineMs: number
}

export interface BatchDeps {
  /** Null: every client is admitted. */
  readonly admit: Admit | null
  readonly cacheGet: CacheGet
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'overloaded'>
  /** What batches hold until they are sent counts in it. Absent: without a bound. */
  readonly waiting?: ByteBudget
}

const MAX_CACHED_FILTERS = 1_000
const compress = promisify<string, Buffer>(gzip)

/**
 * Registers `POST /search/2/batch/sync.json`: many lookups in one request. Each item uses the cache, the in-flight calls
 * and the limits like a request of its own; there is no batch call upstream.
 */
export function batchRoute(scope: FastifyInstance, options: BatchOptions, deps: BatchDeps): void {
  const { admit, waiting, observer } = deps
  const queries = new QueryCache(MAX_CACHED_FILTERS)
  const turns = new Turns() // several batches of a packet are not looked up in one turn of the event loop
  const readQuery = (raw: string) => queries.read(raw)
  const onOverload = () => observer.overloaded()

  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body)
  })
  scope.post<RawQuery>(
    BATCH_PATH,
    {
      bodyLimit: MAX_BODY_BYTES,
      compress: false,
      // Before the body is read: a client without a key sends none.
      onRequest: (request, _reply, done) => {
        request.format = 'json'
        if (!isBatchPath(request.url)) throw new ServiceError('NotFound') // another spelling of the path
        admit?.(request)
        if (request.headers['content-encoding'] !== undefined) throw new ServiceError('UnsupportedMediaType')
        done()
      },
    },
    async (request, reply) => {
      keepConnection(request, reply)
      const client = abortOnDisconnect(reply)
      const nextTurn = async () => {
        await turns.next()
        client.throwIfAborted()
      }
      await nextTurn()
      const items = parseBatch(textOf(request.body), readQuery)
      admit?.countMore(request, Math.max(0, distinctStations(items) - 1))
      const results = await lookUpAll(items, { ...options, ...deps, request, client })
      const memory = waiting?.reserve(0)
      const tryTake = (bytes: number) => memory?.tryGrow(bytes) ?? true
      try {
        const body = await renderBatch(results, { nextTurn, tryTake, onOverload })
        return await send(request, reply, body)
      } finally {
        memory?.end()
        countUnsent(reply.raw) // one that waits for its turn is counted by its connection
      }
    },
  )
}

/** The body has been read, so that the connection can be used again; requests with an unread body close theirs. */
function keepConnection({ raw }: FastifyRequest, reply: FastifyReply): void {
  const isAsked = raw.httpVersion === '1.1' && raw.headers.connection?.toLowerCase() !== 'close'
  reply.raw.shouldKeepAlive = isAsked && mayKeepAlive(reply.raw)
}

function textOf(body: unknown): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body as Buffer | undefined)
  } catch {
    throw malformedRequest('The body is not valid UTF-8')
  }
}

function distinctStations(items: readonly BatchItem[]): number {
  return new Set(items.flatMap((item) => (item instanceof ServiceError ? [] : [item.id]))).size
}

interface LookUpDeps extends BatchOptions, BatchDeps {
  readonly request: FastifyRequest
  /** Aborts when the client disconnects. */
  readonly client: AbortSignal
}

/** Rejects only when the client has disconnected. */
async function lookUpAll(items: readonly BatchItem[], deps: LookUpDeps): Promise<ItemResult[]> {
  const { cacheGet, request, client, clock, batchDeadlineMs } = deps
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // every item listens; by default more than ten are a warning
  const onDisconnect = () => controller.abort(client.reason)
  client.addEventListener('abort', onDisconnect, { once: true })
  const cancelDeadline = clock.after(batchDeadlineMs, () => {
    controller.abort(new ServiceError('UpstreamTimeout', { reason: 'the batch reached its deadline' }))
  })
  const lookUp = (id: string) => cacheGet(id, () => controller.signal, request.rateLimitKey, request.client)
  try {
    return await Promise.all(items.map((item) => resultOf(item, lookUp)))
  } finally {
    cancelDeadline()
    client.removeEventListener('abort', onDisconnect)
  }
}

async function resultOf(
  item: BatchItem,
  lookUp: (id: string) => LookupResult | Promise<LookupResult>,
): Promise<ItemResult> {
  if (item instanceof ServiceError) return item
  try {
    return { result: await lookUp(item.id), filter: item }
  } catch (error) {
    if (error instanceof ClientDisconnectedError) throw error
    return asServiceError(error)
  }
}

async function send(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  { text, length, etag, oldestMs }: BatchBody,
): Promise<FastifyReply> {
  const gzipped = wantsGzip(headers['accept-encoding'], length)
  const tag = gzipped ? `${etag.slice(0, -1)}-gzip"` : etag
  reply.headers({ 'cache-control': 'no-cache', etag: tag })
  if (oldestMs !== null) reply.header('age', String(Math.floor(oldestMs / 1000)))
  if (matchesEtag(headers['if-none-match'], tag)) return reply.code(304).send()
  reply.type(CONTENT_TYPE.json)
  if (!gzipped) return reply.header('content-length', length).send(text)
  return reply.header('content-encoding', 'gzip').send(await compress(text))
}
