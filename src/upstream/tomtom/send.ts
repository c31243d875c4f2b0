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
 * only once the request has its connection. Nothing of the deadline is left once the body has ended.
 * @throws UpstreamError
 */
export async function sendRequest(
  dispatcher: Dispatcher,
  request: UpstreamRequest,
  timeoutMs: number,
): Promise<UpstreamResponse> {
  const progress: Progress = { isSent: false }
  const { signal, expired, release } = startDeadline(timeoutMs)
  try {
    const response = await Promise.race([
      dispatcher.request({ ...request, signal, opaque: progress }),
      expired,
    ])
    response.body.once('close', release)
    return response
  } catch (thrown) {
    release()
    throw upstreamErrorOf(thrown, progress.isSent)
  }
}

interface Deadline {
  readonly signal: AbortSignal
  /** Rejects with a TimeoutError when the time is over, else stays pending. */
  readonly expired: Promise<never>
  readonly release: () => void
}

/** Not AbortSignal.timeout, whose timer keeps all that listens to it until the time is over, however early a call ends. */
function startDeadline(timeoutMs: number): Deadline {
  const controller = new AbortController()
  const { signal } = controller
  const expired = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  const expire = () => controller.abort(new DOMException('The deadline of the call is over', 'TimeoutError'))
  const timer = setTimeout(expire, Math.ceil(timeoutMs)).unref()
  return { signal, expired, release: () => clearTimeout(timer) }
}
