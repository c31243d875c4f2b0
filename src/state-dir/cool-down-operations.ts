import { createHmac, randomBytes } from 'node:crypto'
import type { SharedCoolDown } from '../upstream/state/cool-down-state.ts'
import { MAX_PROBE_MS } from '../upstream/state/shared-cool-down.ts'
import type { Context, Timed } from './operation.ts'
import { isInForce } from './operation.ts'

type CoolDownRecord = Timed & Omit<SharedCoolDown, 'waitMs'>

/** Null without one in force. */
export function getCoolDown(context: Context, apiKey: string): SharedCoolDown | null {
  const name = nameOf(context, 'cool-down', apiKey)
  const record = name === null ? null : (inForce(context, name) as CoolDownRecord | null)
  if (record === null) return null
  const { at: _at, until, ...coolDown } = record
  return { ...coolDown, waitMs: until - context.now }
}

export function setCoolDown(context: Context, apiKey: string, { waitMs, ...rest }: SharedCoolDown): void {
  const { db, now } = context
  db.records.putSync(createName(context, 'cool-down', apiKey), { ...rest, at: now, until: now + waitMs })
}

export function clearCoolDown(context: Context, apiKey: string): void {
  context.db.records.removeSync(createName(context, 'cool-down', apiKey))
}

export function acquireProbe(context: Context, apiKey: string): boolean {
  const { db, now } = context
  const name = createName(context, 'probe', apiKey)
  if (inForce(context, name) !== null) return false
  db.records.putSync(name, { at: now, until: now + MAX_PROBE_MS })
  return true
}

export function releaseProbe(context: Context, apiKey: string): void {
  context.db.records.removeSync(createName(context, 'probe', apiKey))
}

function inForce({ db, now }: Context, name: string): Timed | null {
  const record = db.records.get(name) as Timed | undefined
  return record !== undefined && isInForce(record, now) ? record : null
}

/** Null while the store has no salt, and so no names. */
function nameOf({ db }: Context, kind: string, apiKey: string): string | null {
  const salt = db.records.get('salt')
  if (typeof salt !== 'string') return null
  return `${kind}:${createHmac('sha256', salt).update(apiKey).digest('hex').slice(0, 16)}`
}

/** The salt is random, so that the file has nothing that follows from the API key alone. */
function createName(context: Context, kind: string, apiKey: string): string {
  if (context.db.records.get('salt') === undefined) {
    context.db.records.putSync('salt', randomBytes(16).toString('base64url'))
  }
  return nameOf(context, kind, apiKey) as string
}
