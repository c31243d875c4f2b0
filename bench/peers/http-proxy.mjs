/**
 * @fastify/http-proxy on undici with its cache interceptor. The interceptor keeps to upstream's `no-cache`, so one of
 * our own, nearer to upstream, puts a lifetime in its place.
 */
import httpProxy from '@fastify/http-proxy'
import fastify from 'fastify'
import { Agent, cacheStores, interceptors } from 'undici'

const LIFETIME = `max-age=${process.env.TTL_SECONDS}, stale-while-revalidate=${process.env.STALE_SECONDS}`

/** Hands everything on, the one header changed. */
class WithLifetime {
  #handler
  constructor(handler) {
    this.#handler = handler
  }
  onRequestStart(controller, context) {
    this.#handler.onRequestStart?.(controller, context)
  }
  onResponseStart(controller, status, headers, message) {
    const named = status === 200 ? { ...headers, 'cache-control': LIFETIME } : headers
    this.#handler.onResponseStart?.(controller, status, named, message)
  }
  onResponseData(controller, chunk) {
    this.#handler.onResponseData?.(controller, chunk)
  }
  onResponseEnd(controller, trailers) {
    this.#handler.onResponseEnd?.(controller, trailers)
  }
  onResponseError(controller, error) {
    this.#handler.onResponseError?.(controller, error)
  }
}

const store = new cacheStores.MemoryCacheStore({ maxSize: 2 ** 28, maxCount: 100_000 })
const dispatcher = new Agent({ connections: 64 }).compose(
  (dispatch) => (options, handler) => dispatch(options, new WithLifetime(handler)),
  interceptors.cache({ store, methods: ['GET'] }),
)
const app = fastify({ logger: false })
await app.register(httpProxy, { upstream: process.env.UPSTREAM, undici: dispatcher })
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
