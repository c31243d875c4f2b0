import type { Answer } from './answer.ts'
import { FaultDocumentError } from './fault-document.ts'
import type { Faults } from './faults.ts'

/** Shows and sets the faults. Requests to it need no key, are not counted, and no fault applies to them. */
export const CONTROL_PATH = '/_simulator/faults'

const MAX_BODY_BYTES = 64 * 1024

/** `GET` returns the active faults, `PUT` replaces and returns them, `DELETE` clears them. */
export async function control(method: string, body: AsyncIterable<Buffer>, faults: Faults): Promise<Answer> {
  switch (method) {
    case 'PUT':
      return replace(body, faults)
    case 'DELETE':
      faults.set([])
      return { status: 204, headers: {}, body: '' }
    case 'GET':
      return json(200, faults.active)
    default:
      return {
        ...json(405, { message: 'expected GET, PUT or DELETE' }),
        headers: { Allow: 'GET, PUT, DELETE' },
      }
  }
}

async function replace(body: AsyncIterable<Buffer>, faults: Faults): Promise<Answer> {
  try {
    faults.set(JSON.parse(await textOf(body)))
    return json(200, faults.active)
  } catch (error) {
    if (error instanceof FaultDocumentError)
      return json(400, { message: error.message, problems: error.problems })
    if (error instanceof SyntaxError) return json(400, { message: `The body is not JSON: ${error.message}` })
    throw error
  }
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length <= MAX_BODY_BYTES) chunks.push(chunk)
  }
  if (length > MAX_BODY_BYTES)
    throw new FaultDocumentError([`expected at most ${MAX_BODY_BYTES} bytes, got ${length}`])
  return Buffer.concat(chunks).toString()
}

function json(status: number, value: unknown): Answer {
  return {
    status,
    headers: { 'Content-Type': 'application/json; charset=utf-8' },
    body: JSON.stringify(value),
  }
}
