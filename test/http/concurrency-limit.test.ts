import t from 'tap'
import { ServiceError } from '../../src/errors.ts'
import { limitConcurrency } from '../../src/http/concurrency-limit.ts'
import { settled } from '../support/clock.ts'
import { hitFor } from './public-server.ts'

/** A cache in which `held` is a hit and every other id waits until its call is ended. */
function setup(max: number) {
  const calls = new Map<string, PromiseWithResolvers>()
  const limited: string[] = []
  const errors: ServiceError[] = []
  const cache = {
    get(id: string, onWait?: () => AbortSignal) {
      if (id === 'held') return hitFor(id)
      const signal = onWait?.()
      const call = calls.get(id) ?? withResolvers()
      calls.set(id, call)
      const left = new Promise<never>((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error))
      })
      return Promise.race([call.promise, left]).then(() => hitFor(id))
    },
    inFlight: (id: string) => calls.get(id)?.promise,
  }
  const observer = { clientLimited: (limit: string) => void limited.push(limit) }
  const get = limitConcurrency(max, { cache, observer })
  const controller = new AbortController()
  const request = (id: string, client = 'web') => {
    try {
      const found = get(id, () => controller.signal, client)
      if (found instanceof Promise) found.catch(() => {})
      return found instanceof Promise ? 'waits' : 'hit'
    } catch (error) {
      errors.push(error as ServiceError)
      return (error as ServiceError).code
    }
  }
  return { request, calls, limited, errors, disconnect: () => controller.abort(new Error('gone')) }
}

interface PromiseWithResolvers {
  promise: Promise<void>
  resolve: () => void
  reject: (error: Error) => void
}

function withResolvers(): PromiseWithResolvers {
  let resolve = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}

await t.test('a request over the limit is TooManyRequests with a Retry-After of a second', async (t) => {
  const { request, errors } = setup(1)
  t.strictSame([request('a'), request('b')], ['waits', 'TooManyRequests'])
  t.strictSame(
    errors.map(({ retryAfterMs, reason }) => [retryAfterMs, reason]),
    [[1_000, 'the client has too many requests in flight']],
  )
})

await t.test('each client has its own slots, and joining a call takes one', async (t) => {
  const { request, limited } = setup(2)
  const results = [request('a'), request('a'), request('a'), request('b'), request('a', 'ios')]
  t.strictSame(results, ['waits', 'waits', 'TooManyRequests', 'TooManyRequests', 'waits'])
  t.strictSame(limited, ['in_flight', 'in_flight'])
})

await t.test('a hit needs no slot', async (t) => {
  const { request } = setup(1)
  t.strictSame([request('a'), request('held'), request('held')], ['waits', 'hit', 'hit'])
})

await t.test('a slot is released when the call ends, in success or failure', async (t) => {
  const { request, calls } = setup(1)
  const results = [request('a')]
  calls.get('a')?.resolve()
  await settled()
  results.push(request('b'))
  calls.get('b')?.reject(new ServiceError('UpstreamFailed'))
  await settled()
  results.push(request('c'))
  t.strictSame(results, ['waits', 'waits', 'waits'])
})

await t.test('a disconnected client keeps its slot until the call ends', async (t) => {
  const { request, calls, disconnect } = setup(1)
  const results = [request('a')]
  disconnect()
  await settled()
  results.push(request('b'))
  calls.get('a')?.resolve()
  await settled()
  results.push(request('b'))
  t.strictSame(results, ['waits', 'TooManyRequests', 'waits'])
})
