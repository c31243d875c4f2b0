import type { Test } from 'tap'
import type { Clock } from '../../src/lib/clock.ts'
import type { RequestOptions, WireResponse } from './request.ts'
import { request, pathFor } from './request.ts'
import type { Proxy } from './proxy.ts'
import { contract, violations } from './contract.ts'
import { startProxy } from './proxy.ts'
import type { Script } from './scripted-upstream.ts'
import { answerStation, ScriptedUpstream } from './scripted-upstream.ts'

/** The service and its upstream, both stopped when the test ends. */
export interface Service {
  readonly proxy: Proxy
  readonly upstream: ScriptedUpstream
  /** A request to the public listener, the path exactly as written. Its response is validated against openapi.yaml. */
  readonly request: (path: string, options?: RequestOptions) => Promise<WireResponse>
  /** GET of the proxied route. */
  readonly get: (query: string, options?: RequestOptions & { ext?: string }) => Promise<WireResponse>
  /** A request to the admin listener. */
  readonly requestAdmin: (path: string, options?: RequestOptions) => Promise<WireResponse>
}

export interface ServiceOptions {
  readonly script?: Script
  readonly env?: Record<string, string | undefined>
  /** Upstream sends undocumented shapes, which are passed on: responses are not validated. */
  readonly oddShapes?: boolean
  readonly clock?: Clock
}

export async function startService(
  t: Test,
  { script, env, oddShapes = false, clock }: ServiceOptions = {},
): Promise<Service> {
  contract() // compiled now, not while a test measures time
  const upstream = await ScriptedUpstream.start(script ?? answerStation)
  const proxy = await startProxy(upstream.origin, env, clock)
  t.teardown(async () => {
    await upstream.stop()
    await proxy.stop()
  })
  const askPublic = async (path: string, options: RequestOptions = {}): Promise<WireResponse> => {
    const answer = await request(proxy.url, path, options)
    const { method = 'GET' } = options
    const { status, headers, text } = answer
    const problems = violations({ method, path, status, headers, body: text })
    if (problems.length > 0 && !oddShapes)
      throw new Error(`${method} ${path} breaks openapi.yaml: ${problems.join('; ')}`)
    return answer
  }
  return {
    proxy,
    upstream,
    request: askPublic,
    get: (query, { ext = 'json', ...options } = {}) => askPublic(pathFor(query, ext), options),
    requestAdmin: (path, options) => request(proxy.adminUrl, path, options),
  }
}
