/*
 * A preload that traces the service with OpenTelemetry's standard instrumentations:
 *
 *   NODE_OPTIONS=--import=/app/dist/otel.js
 *
 * The packages are not dependencies of the service. They are found in node_modules beside it, or in NODE_PATH, where an
 * operator of Kubernetes injects them. Their settings are the OTEL_ variables. docs/opentelemetry.md describes all of it.
 *
 * Loaded without this file they export every URL, and so the API key and the keys of clients, and send `traceparent` to
 * upstream.
 */
import { createRequire, register } from 'node:module'
import { pathToFileURL } from 'node:url'

const PACKAGES = ['@opentelemetry/auto-instrumentations-node', '@opentelemetry/sdk-node'] as const

/** Attributes that contain the query, by the stable and the old conventions. Undefined attributes are not set. */
const WITHOUT_QUERY = {
  'url.full': undefined,
  'url.query': undefined,
  'http.url': undefined,
  'http.target': undefined,
}

const PROBES = /(?:^|\/)(?:healthz|livez|readyz|metrics)$/

/** The parts of the packages that are used. */
interface Propagator {
  extract(...parameters: unknown[]): unknown
}
interface Sdk {
  start(): void
  shutdown(): Promise<void>
}
interface SdkPackage {
  readonly NodeSDK: new (options: Readonly<Record<string, unknown>>) => Sdk
  readonly core: { readonly W3CTraceContextPropagator: new () => Propagator }
}
interface InstrumentationsPackage {
  readonly getNodeAutoInstrumentations: (config: Readonly<Record<string, unknown>>) => unknown[]
}

// require, unlike import, looks in NODE_PATH as well.
const require = createRequire(import.meta.url)

function load(name: (typeof PACKAGES)[number]): unknown {
  try {
    return require(name)
  } catch (cause) {
    throw new Error(`otel.js needs ${PACKAGES.join(' and ')}, in node_modules or NODE_PATH`, { cause })
  }
}

const { getNodeAutoInstrumentations } = load(PACKAGES[0]) as InstrumentationsPackage
const { NodeSDK, core } = load(PACKAGES[1]) as SdkPackage
const requireBesideThem = createRequire(require.resolve(PACKAGES[0]))
register(pathToFileURL(requireBesideThem.resolve('@opentelemetry/instrumentation/hook.mjs')))

/** Continues the traces of clients, and adds nothing to the requests that the service sends. */
function extractOnly(): Propagator & { inject(): void; fields(): string[] } {
  const traceContext = new core.W3CTraceContextPropagator()
  return {
    extract: (...parameters) => traceContext.extract(...parameters),
    inject: () => {},
    fields: () => [],
  }
}

const withoutQuery = () => WITHOUT_QUERY
const sdk = new NodeSDK({
  textMapPropagator: extractOnly(),
  instrumentations: getNodeAutoInstrumentations({
    '@opentelemetry/instrumentation-http': {
      ignoreIncomingRequestHook: ({ url = '' }: { readonly url?: string }) =>
        PROBES.test(url.split('?', 1)[0] ?? ''),
      startIncomingSpanHook: withoutQuery,
      startOutgoingSpanHook: withoutQuery,
    },
    '@opentelemetry/instrumentation-undici': { startSpanHook: withoutQuery },
    '@opentelemetry/instrumentation-dns': { enabled: false },
    '@opentelemetry/instrumentation-net': { enabled: false },
  }),
})
sdk.start()

/** By this, main.ts knows that the preload is loaded, and sends what is left when the process ends. */
const preload = { shutdown: () => sdk.shutdown() }
Object.assign(globalThis, { [Symbol.for('ev-availability-proxy.opentelemetry')]: preload })
