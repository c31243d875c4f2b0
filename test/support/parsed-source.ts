import { posix } from 'node:path'
import { parseSync } from 'oxc-parser'

/** A source file with its imports and the nodes of its syntax tree (ESTree with TypeScript's nodes). */
export interface SourceFile {
  /** From the root, such as `src/http/server.ts`. */
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
  readonly nodes: readonly Visited[]
}

export interface Import {
  /** A path from the root for a file of src/, else the name of a package or a builtin. */
  readonly target: string
  readonly isRelative: boolean
  readonly typesOnly: boolean
}

export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [member: string]: unknown
}

export interface Visited {
  readonly node: Node
  readonly parent: Node | null
}

/** @throws Error for a text with a syntax error */
export function parseFile(path: string, text: string): SourceFile {
  const { program, module, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`)
  const nodes = [...walk(program as unknown as Node, null)]
  const found = (specifier: string, typesOnly: boolean): Import => {
    const isRelative = specifier.startsWith('.')
    const target = isRelative ? posix.join(posix.dirname(path), specifier) : specifier
    return { target, isRelative, typesOnly }
  }
  const exports = module.staticExports.flatMap(({ entries }) => entries)
  const imports = [
    ...module.staticImports.map(({ moduleRequest, entries }) =>
      found(moduleRequest.value, entries.length > 0 && entries.every(({ isType }) => isType)),
    ),
    ...exports.flatMap((entry) =>
      entry.moduleRequest ? found(entry.moduleRequest.value, entry.isType) : [],
    ),
    ...nodes.flatMap(({ node }) => {
      const specifier = specifierOf(node)
      if (specifier === undefined) return []
      return found(text.slice(specifier.start + 1, specifier.end - 1), node.type === 'TSImportType')
    }),
  ]
  return { path, text, imports, nodes }
}

function* walk(node: Node, parent: Node | null): Generator<Visited> {
  yield { node, parent }
  for (const child of Object.values(node).flat()) if (isNode(child)) yield* walk(child, node)
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value
}

/** The quoted specifier of `import('x')`, `require('x')` and the type `import('x').T`. */
function specifierOf(node: Node): Node | undefined {
  if (node.type === 'ImportExpression' || node.type === 'TSImportType') return node['source'] as Node
  const isRequire = node.type === 'CallExpression' && (node['callee'] as Node)['name'] === 'require'
  return isRequire ? (node['arguments'] as Node[])[0] : undefined
}

/** Whether an identifier stands for a variable, and not for a member, a key or a label of the same name. */
export function isReference({ node, parent }: Visited): boolean {
  const isKey = parent?.['key'] === node && parent['shorthand'] !== true
  const isMember = parent !== null && parent['property'] === node
  const named = (isKey || isMember) && parent?.['computed'] !== true
  const ofGlobal = isMember && (parent['object'] as Node)['name'] === 'globalThis'
  return node.type === 'Identifier' && (!named || ofGlobal)
}

/** A final line feed ends a line and begins none. */
export function linesIn(text: string): number {
  return text.replace(/\n$/, '').split('\n').length
}
