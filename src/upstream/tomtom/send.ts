import type { Dispatcher } from 'undici'
import { upstreamErrorOf } from './error.ts'

type Handler = Dispatcher.DispatchHandler
type Hook<N extends keyof Handler> = NonNullable<Handler[N]>
export type UpstreamResponse = Dispatcher.ResponseData<unknown>
type UpstreamRequest = Omit<Dispatcher.RequestOptions<Progress>, 'signal' | 'opaque'>

/** The progress of a request. undici passes it along as the request's opaque value. */
interface Progress {
  /** Its head was written to a connection: from then on upstream can have seen it. */
  isSent: boolean
}

/**
 * A dispatcher that records when a request is sent. Before that it waits for a free connection, or for one to be made,
 * and upstream has not seen it.
 */
export function trackSent(dispatcher: Dispatcher): Dispatcher {
  return dispatcher.compose((dispatch) => (options, handler) => {
    const { opaque } = options as { opaque?: Progress }
    return dispatch(options, opaque === undefined ? handler : new SentTracker(handler, opaque))
  })
}

/** undici's DecoratorHandler asserts that a response has one head, and early hints (103) add another. */
class SentTracker implements Handler {
  readonly #inner: Handler
  readonly #progress: Progress

  constructor(inner: Handler, progress: Progress) {
    this.#inner = inner
    this.#progress = progress
  }

  onRequestStart(...args: Parameters<Hook<'onRequestStart'>>): void {
    this.#progress.isSent = true
    this.#inner.onRequestStart?.(...args)
  }

  onResponseStart(...args: Parameters<Hook<'onResponseStart'>>): void {
    this.#inner.onResponseStart?.(...args)
  }

  onResponseData(...args: Parameters<Hook<'onResponseData'>>): void {
    this.#inner.onResponseData?.(...args)
  }

  onResponseEnd(...args: Parameters<Hook<'onResponseEnd'>>): void {
    this.#inner.onResponseEnd?.(...args)
  }

  onResponseError(...args: Parameters<Hook<'onResponseError'>>): void {
    this.#inner.onResponseError?.(...args)
  }
}

/**
 * The head of the response. The deadline includes the body and the wait for a connection: undici alone handles an abort
 * only once the request has its connection.
 * @throws UpstreamError
 */
export async function sendRequest(
  dispatcher: Dispatcher,
  request: UpstreamRequest,
  timeoutMs: number,
): Promise<UpstreamResponse> {
  const progress: Progress = { isSent: false }
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs))
  const response = dispatcher.request({ ...request, signal, opaque: progress })
  try {
    return await Promise.race([response, rejectionAt(signal)])
  } catch (thrown) {
    throw upstreamErrorOf(thrown, progress.isSent)
  }
}

function rejectionAt(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
