import type { FastifyServerOptions } from 'fastify'

/**
 * Options of a server whose routes have no schemas. By default Fastify loads Ajv and fast-json-stringify for every
 * server, which is a tenth of this service's start time. A route with a schema fails at registration.
 */
export const NO_SCHEMA_COMPILERS = {
  schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } },
} satisfies FastifyServerOptions

function noCompiler(): never {
  throw new Error('Routes of this service have no schemas')
}
