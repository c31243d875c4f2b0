import type { FastifyServerOptions } from 'fastify'

/**
 * Options of a server whose routes have no schemas. Unasked, Fastify loads Ajv and fast-json-stringify for every
 * server at start, which is a tenth of this service's start time; a route that brings a schema is told so.
 */
export const NO_SCHEMA_COMPILERS = {
  schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } },
} satisfies FastifyServerOptions

function noCompiler(): never {
  throw new Error('Routes of this service have no schemas')
}
