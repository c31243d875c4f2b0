import { expectedJson } from '../support/expected.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { sendJson } from '../support/scripted-upstream.ts'
import { referenceStation } from '../support/stations.ts'

export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Checks all cases at once; the problems of those that have any, by name. To be compared with `{}`. */
export async function problemsByCase<Case>(
  cases: readonly Case[],
  check: (it: Case) => Promise<readonly [name: string, problems: readonly string[]]>,
): Promise<Record<string, readonly string[]>> {
  const checked = await Promise.all(cases.map(check))
  return Object.fromEntries(checked.filter(([, problems]) => problems.length > 0))
}

/** A station whose unfiltered JSON has exactly this number of bytes. */
export function stationOfSize(bytes: number): Script {
  return ({ id }, response) => {
    const bare = { ...referenceStation(id), note: '' }
    sendJson(response, { ...bare, note: 'x'.repeat(bytes - expectedJson(bare).length) })
  }
}
