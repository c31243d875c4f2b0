/**
 * Lets Node 20 import TypeScript: node --import=./scripts/strip-types.mjs file.ts. Later lines of Node strip types
 * themselves, with the same parser.
 */
import { register } from 'node:module'
import process from 'node:process'

if (!process.features.typescript) register('./strip-types-hooks.mjs', import.meta.url)
