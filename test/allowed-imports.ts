/*
 * Which module of src/ may import which; test/architecture.test.ts enforces it. A module is a folder of src/, or a file
 * in src/ itself; app.ts and app-cache.ts are one. Imports inside a module are always allowed. A module that is missing
 * here does not exist.
 */

interface Allowed {
  /** Modules whose values and types may be imported. */
  readonly values: readonly string[]
  /** Modules of which only types may be imported. */
  readonly types?: readonly string[]
}

const base = ['lib', 'errors', 'events']

export const ALLOWED_IMPORTS: Readonly<Record<string, Allowed>> = {
  main: { values: ['config', 'app', 'lib'] },
  otel: { values: [] },
  app: {
    values: [
      'config',
      'clients',
      'http',
      'availability',
      'cache',
      'upstream',
      'redis',
      'watch',
      'state-dir',
      'ops',
      ...base,
    ],
    types: ['stores', 'gauges'],
  },
  http: { values: ['availability', ...base], types: ['cache', 'watch'] },
  watch: { values: base, types: ['cache'] },
  cache: { values: ['availability', ...base], types: ['source'] },
  upstream: { values: ['availability', ...base], types: ['source'] },
  stores: { values: [], types: ['cache', 'upstream'] },
  redis: { values: ['upstream', ...base], types: ['cache', 'config', 'stores'] },
  // The quota rules that Redis needs in Lua are shared here.
  'state-dir': { values: ['upstream', ...base], types: ['cache', 'stores'] },
  clients: { values: ['config', 'lib'], types: ['events'] },
  ops: { values: base, types: ['gauges'] },
  gauges: { values: [], types: ['events'] },
  availability: { values: ['errors'] },
  config: { values: ['lib'], types: ['upstream'] },
  source: { values: [], types: ['availability'] },
  events: { values: [] },
  errors: { values: [] },
  lib: { values: [] },
  simulator: { values: [] },
  verify: { values: ['config', 'availability', 'upstream', 'lib'] },
}

/** The only package that the pure core (availability) imports: a JSON parser that rejects prototype members. */
export const CORE_DEPENDENCY = 'secure-json-parse'
