// Prints the types of openapi.yaml for clients in TypeScript: npm run openapi:types puts them into test/client/api.d.ts
import { register } from 'node:module'

// The generator uses the JavaScript API of the compiler, which TypeScript 7 does not have; version 6 is installed under
// another name.
const hook = `export const resolve = (name, context, next) =>
  next(name === 'typescript' ? '@typescript/typescript6' : name, context)`
register(`data:text/javascript,${encodeURIComponent(hook)}`)

const { astToString, COMMENT_HEADER, default: openapiTypes } = await import('openapi-typescript')
const types = await openapiTypes(new URL('../openapi.yaml', import.meta.url))
process.stdout.write(COMMENT_HEADER + astToString(types))
