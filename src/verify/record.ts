import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Exchange } from './client.ts'
import type { Mask } from './mask.ts'

/**
 * Returns a function that writes each exchange to a file of the directory, with the key masked.
 * @throws the system's error if the directory cannot be made
 */
export function createRecord(directory: string | null, mask: Mask): (exchange: Exchange) => void {
  if (directory === null) return () => {}
  mkdirSync(directory, { recursive: true })
  return (exchange) => {
    const number = String(exchange.number).padStart(3, '0')
    writeFileSync(join(directory, `${number}-${exchange.label}.txt`), mask(textOf(exchange)))
  }
}

function textOf({ method, path, requestHeaders, reply }: Exchange): string {
  const { status, headers, text, problem } = reply
  const request = [`${method} ${path} HTTP/1.1`, ...headerLines(requestHeaders)]
  const response = [status === null ? 'no response' : `HTTP/1.1 ${status}`, ...headerLines(headers)]
  return [...request, '', ...response, '', problem === null ? text : `(${problem})`, ''].join('\n')
}

function headerLines(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
}
