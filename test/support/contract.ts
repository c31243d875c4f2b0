import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { parse } from 'yaml'

/** A response of the service, its body decoded. */
export interface Answer {
  readonly method: string
  /** The requested path; a query is ignored. */
  readonly path: string
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
}

export interface Schema {
  readonly type?: string
  readonly properties?: Record<string, Schema>
  readonly items?: Schema
  readonly xml?: { readonly name?: string; readonly wrapped?: boolean }
  readonly examples?: readonly unknown[]
}

export interface Media {
  readonly schema: Schema
  readonly example?: unknown
  readonly examples?: Record<string, { readonly value: unknown }>
}

export interface Response {
  readonly headers?: Record<string, { readonly required?: boolean; readonly schema: Schema }>
  readonly content?: Record<string, Media>
}

export interface Parameter extends Media {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
}

export interface Operation {
  readonly operationId: string
  readonly parameters?: readonly Parameter[]
  readonly responses: Record<string, Response>
}

/** openapi.yaml, with every reference replaced by what it refers to. */
export interface Contract {
  readonly paths: Record<string, Record<(typeof METHODS)[number], Operation | undefined>>
}

const METHODS = ['get', 'post', 'options'] as const
const PROXIED_ROUTE = '/search/2/chargingAvailability.{ext}'
/** Statuses of requests that fail before routing. */
const BEFORE_ROUTING = [400, 408, 431]

const ajv = new Ajv2020({ allErrors: true })
addFormats.default(ajv)
ajv.addVocabulary(['xml', 'example'])

const xml = new XMLParser({
  ignoreDeclaration: true,
  ignoreAttributes: false,
  parseTagValue: false,
  trimValues: false,
})

const DECIMAL = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/

let loaded: Contract | null = null

/** The contract with clients, read and compiled at the first call. */
export function contract(): Contract {
  if (loaded === null) {
    loaded = load(readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'))
    for (const schema of schemasOf(loaded)) ajv.compile(schema)
  }
  return loaded
}

/** Every operation of the document, with its method and the template of its path. */
export function operations(): (Operation & { readonly method: string; readonly path: string })[] {
  return Object.entries(contract().paths).flatMap(([path, item]) =>
    METHODS.flatMap((name) => {
      const operation = item[name]
      return operation === undefined ? [] : [{ ...operation, path, method: name.toUpperCase() }]
    }),
  )
}

/** Every documented body with its operation, status and media type. */
export function* documentedBodies() {
  for (const { operationId, responses } of operations()) {
    for (const [status, { content = {} }] of Object.entries(responses)) {
      for (const [mediaType, media] of Object.entries(content))
        yield { operationId, status, mediaType, media }
    }
  }
}

/** The examples of a media type and of its schema, each with a name. */
export function examplesOf({ example, examples = {}, schema }: Media): [name: string, value: unknown][] {
  const named = Object.entries(examples).map(([name, { value }]): [string, unknown] => [name, value])
  const inSchema = (schema.examples ?? []).map((value, index): [string, unknown] => [`${index}`, value])
  return [
    ...(example === undefined ? [] : [['example', example] as [string, unknown]]),
    ...named,
    ...inSchema,
  ]
}

function schemasOf({ paths }: Contract): Schema[] {
  const operations = Object.values(paths).flatMap((item) => METHODS.map((name) => item[name]))
  const responses = operations.flatMap((operation) => Object.values(operation?.responses ?? {}))
  return responses.flatMap(({ headers = {}, content = {} }) =>
    [...Object.values(headers), ...Object.values(content)].map(({ schema }) => schema),
  )
}

/** How a response violates the contract; empty if it does not. */
export function violations(answer: Answer): string[] {
  const response = documented(answer)
  if (response === undefined) return [`${answer.method} ${answer.path}: ${answer.status} is not documented`]
  const headers = new Map(Object.entries(answer.headers).map(([name, value]) => [name.toLowerCase(), value]))
  const header = (name: string) => headers.get(name.toLowerCase())?.toString()
  return [...headerProblems(response, header), ...contentProblems(answer, response, header('content-type'))]
}

/** How a body violates a schema. XML is mapped by the `xml` keywords of the schema. */
export function bodyProblems(mediaType: string, schema: Schema, body: string): string[] {
  try {
    return valueProblems('body', schema, read(mediaType, schema, body))
  } catch (error) {
    return [`body: ${(error as Error).message}`]
  }
}

/** The documented response. Requests without an operation get the common errors of the service. */
function documented({ method, path, status }: Answer): Response | undefined {
  const { paths } = contract()
  const [target = ''] = path.split('?', 1)
  const template = Object.keys(paths).find((candidate) => fits(candidate, target))
  const item = template === undefined ? undefined : paths[template]
  const isHeadOfStream = method === 'HEAD' && target === '/events'
  const operation = item?.[isHeadOfStream ? 'get' : (method.toLowerCase() as 'get')]
  if (operation) return operation.responses[status]
  const ofPath = (item?.get ?? item?.post)?.responses
  if (status === 405) return ofPath?.[405]
  const commonErrors = [...BEFORE_ROUTING, ...(ofPath ? [] : [404])]
  return commonErrors.includes(status) ? paths[PROXIED_ROUTE]?.get?.responses[status] : undefined
}

function fits(template: string, path: string): boolean {
  return new RegExp(`^${template.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]*')}$`).test(path)
}

function headerProblems(response: Response, header: (name: string) => string | undefined): string[] {
  return Object.entries(response.headers ?? {}).flatMap(([name, { required = false, schema }]) => {
    const value = header(name)
    if (value === undefined) return required ? [`${name}: missing`] : []
    return valueProblems(name, schema, shape(value, schema))
  })
}

function contentProblems({ method, path, status, body }: Answer, { content }: Response, type = ''): string[] {
  if (content === undefined) return body === '' ? [] : ['body: there must be none']
  const requested = path.split('?', 1)[0]?.endsWith('.xml') ? 'application/xml' : 'application/json'
  const mediaType = requested in content ? requested : (Object.keys(content)[0] as string)
  const charset = mediaType === 'text/event-stream' ? '' : '; charset=utf-8' // always UTF-8
  if (type.toLowerCase() !== mediaType + charset) return [`Content-Type: '${type}', not ${mediaType}`]
  if (method === 'HEAD') return body === '' ? [] : ['body: HEAD has none']
  const media = content[mediaType] as Media
  const problems = bodyProblems(mediaType, media.schema, body)
  return status < 400 || problems.length > 0 ? problems : errorProblems(status, mediaType, media, body)
}

/** The code of an error must be documented for its status, and httpStatusCode must repeat the status. */
function errorProblems(
  status: number,
  mediaType: string,
  { schema, examples }: Media,
  body: string,
): string[] {
  const error = read(mediaType, schema, body) as { detailedError: { code: string }; httpStatusCode?: string }
  const { code } = error.detailedError
  const problems = examples && code in examples ? [] : [`body: code ${code} does not belong to ${status}`]
  const repeated = error.httpStatusCode ?? String(status)
  return repeated === String(status)
    ? problems
    : [...problems, `body: httpStatusCode ${repeated} in a ${status}`]
}

function valueProblems(name: string, schema: Schema, value: unknown): string[] {
  const validate = ajv.compile(schema) // Ajv caches by schema object
  validate(value)
  return (validate.errors ?? []).map((error) => `${name}${error.instancePath}: ${error.message}`)
}

/** @throws Error for a body that cannot be parsed */
function read(mediaType: string, schema: Schema, body: string): unknown {
  if (mediaType === 'application/json') return JSON.parse(body)
  if (mediaType !== 'application/xml') return body
  const wellFormed = XMLValidator.validate(body)
  if (wellFormed !== true) throw new Error(wellFormed.err.msg)
  const unindented = body.replace(/>\n\s*</g, '><') // as examples are
  const root = xml.parse(unindented) as Record<string, unknown>
  const name = schema.xml?.name ?? ''
  if (!(name in root)) throw new Error(`root element is ${Object.keys(root).join()}, not ${name}`)
  return shape(root[name], schema)
}

/** Converts text to the type of its schema; other text stays, so that validation fails. */
function shape(node: unknown, schema: Schema): unknown {
  if (schema.type === 'array') return shapeList(node, schema)
  if (schema.type === 'object') return shapeObject(node === '' ? {} : node, schema)
  const isNumber = schema.type === 'number' || schema.type === 'integer'
  return isNumber && typeof node === 'string' && DECIMAL.test(node) ? Number(node) : node
}

function shapeObject(node: unknown, { properties = {} }: Schema): unknown {
  if (typeof node !== 'object' || node === null) return node
  const members = Object.entries(node).map(([name, child]) => [name, shape(child, properties[name] ?? {})])
  return Object.fromEntries(members)
}

/** Wrapped: one element contains the items and nothing else. Otherwise every element is an item. */
function shapeList(node: unknown, { items = {}, xml: { wrapped = false } = {} }: Schema): unknown {
  if (!wrapped) return [node].flat().map((item) => shape(item, items))
  if (node === '') return []
  const { [items.xml?.name ?? '']: found, ...others } = node as Record<string, unknown>
  return found === undefined || Object.keys(others).length > 0 ? node : shapeList(found, { items })
}

function load(text: string): Contract {
  const document: unknown = parse(text)
  const replaced = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(replaced)
    if (typeof node !== 'object' || node === null) return node
    if ('$ref' in node) return replaced(target(document, node.$ref as string))
    return Object.fromEntries(Object.entries(node).map(([name, child]) => [name, replaced(child)]))
  }
  return replaced(document) as Contract
}

function target(document: unknown, ref: string): unknown {
  const steps = ref.slice('#/'.length).split('/')
  return steps.reduce((node, step) => (node as Record<string, unknown>)[step], document)
}
