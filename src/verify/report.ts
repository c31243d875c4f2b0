import type { AssumptionId, Finding } from './assumptions.ts'
import { ASSUMPTIONS } from './assumptions.ts'
import type { Mask } from './mask.ts'
import type { Result } from './run.ts'

const NOT_TRIED: Finding = { verdict: 'not tried', seen: '' }
const MAX_SEEN_LENGTH = 300

interface Row {
  readonly id: AssumptionId
  readonly assumption: string
  readonly verdict: Finding['verdict']
  readonly seen: string
  readonly reading?: Finding['reading']
}

/** The whole result as one JSON document. */
export function jsonReport({ findings, advice, calls, stopped }: Result, mask: Mask): string {
  const assumptions = rowsOf(findings, mask)
  const masked = stopped && { ...stopped, reason: clean(stopped.reason, mask) }
  return `${JSON.stringify({ assumptions, advice, calls, stopped: masked })}\n`
}

/** The result as a table, with what follows from it. */
export function tableReport({ findings, advice, calls, stopped }: Result, mask: Mask): string {
  const rows = rowsOf(findings, mask)
  const width = (column: 'id' | 'verdict') => Math.max(...rows.map((row) => row[column].length))
  const lines = rows.flatMap(({ id, verdict, assumption, seen }) => {
    const head = `${id.padEnd(width('id'))}  ${verdict.padEnd(width('verdict'))}  ${assumption}`
    return seen === '' ? [head] : [head, `${' '.repeat(width('id') + width('verdict') + 4)}seen: ${seen}`]
  })
  const notes = [
    `${calls} calls.`,
    ...(stopped === null
      ? []
      : [`Stopped: ${clean(stopped.reason, mask)} (status ${stopped.status ?? 'none'}).`]),
    ...advice.map((setting) => `Set ${setting}: the proxy then filters as upstream does.`),
  ]
  return `${[...lines, '', ...notes].join('\n')}\n`
}

/** 1 if an assumption is contradicted, 2 if nothing could be found out. */
export function exitCodeOf({ findings, failure }: Result): 0 | 1 | 2 {
  if (failure !== null) return 2
  return Object.values(findings).some(({ verdict }) => verdict === 'contradicted') ? 1 : 0
}

function rowsOf(findings: Result['findings'], mask: Mask): Row[] {
  return (Object.keys(ASSUMPTIONS) as AssumptionId[]).map((id) => {
    const { verdict, seen, reading } = findings[id] ?? NOT_TRIED
    const row = { id, assumption: ASSUMPTIONS[id], verdict, seen: clean(seen, mask) }
    return id === 'power-filter' ? { ...row, reading: reading ?? null } : row
  })
}

/** On one line, without the key, and bounded: it may repeat what upstream sent. */
export function clean(text: string, mask: Mask): string {
  const masked = mask(text).replaceAll(/\p{Cc}+/gu, ' ')
  return masked.length > MAX_SEEN_LENGTH ? `${masked.slice(0, MAX_SEEN_LENGTH)}…` : masked
}
