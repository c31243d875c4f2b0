import type { Dispatcher } from 'undici'
import { upstreamErrorOf } from './error.ts'

type Handler = Dispatcher.DispatchHandler
type Hook<N extends keyof Handler> = NonNullable<Handler[N]>
export type UpstreamResponse = Dispatcher.ResponseData<unknown>
type Request = Omit<Dispatcher.RequestOptions<Progress>, 'signal' | 'opaque'>

/** How far a request has come: it travels with it through undici. */
interface Progress {
  /** Its head goes out on a connection: from then on upstream can have seen it. */
  isSent: boolean
}

/**
 * A dispatcher that notes when a request leaves: before that it waits for one of the connections, or for one to be
 * made, and upstream knows nothing of it.
 */
export function trackSent(dispatcher: Dispatcher): Dispatcher {
  return dispatcher.compose((dispatch) => (options, handler) => {
    const { opaque } = options as { opaque?: Progress }
    return dispatch(options, opaque === undefined ? handler : new NotingHandler(handler, opaque))
  })
}

/** undici's own DecoratorHandler takes no second head, and early hints (103) bring one. */
class NotingHandler implements Handler {
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
 * The response's head. The deadline holds for its body too, and whatever the request waits for: undici by itself hears
 * of an abort only once a request has its connection.
 * @throws UpstreamError
 */
export async function sendRequest(
  dispatcher: Dispatcher,
  request: Request,
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
