// Prints the types of openapi.yaml for clients in TypeScript: npm run openapi:types puts them into test/client/api.d.ts
import { register } from 'node:module'

// The generator speaks to the compiler's JavaScript API, which TypeScript 7 no longer has and 6 under its own name has.
const hook = `export const resolve = (name, context, next) =>
  next(name === 'typescript' ? '@typescript/typescript6' : name, context)`
register(`data:text/javascript,${encodeURIComponent(hook)}`)

const { astToString, COMMENT_HEADER, default: openapiTypes } = await import('openapi-typescript')
const types = await openapiTypes(new URL('../openapi.yaml', import.meta.url))
process.stdout.write(COMMENT_HEADER + astToString(types))
