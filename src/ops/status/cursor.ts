/** How far a reader of reports has read. */
export interface Cursor {
  /** The last second it has, since the epoch. */
  readonly second: number
  /** The number of the last failure it has. */
  readonly failure: number
  /** The number of the last refusal it has. */
  readonly refusal: number
}

/** A reader that has nothing yet. */
export const NOTHING: Cursor = { second: -1, failure: 0, refusal: 0 }

const CURSOR = /^(\d{1,12})\.(\d{1,12})\.(\d{1,12})$/

/** The text that `?since=` takes; its make-up is nobody else's business. */
export function writeCursor({ second, failure, refusal }: Cursor): string {
  return `${second}.${failure}.${refusal}`
}

/** Whoever shows no cursor of ours has read nothing. */
export function readCursor(text: unknown): Cursor {
  const [, second, failure, refusal] = (typeof text === 'string' && CURSOR.exec(text)) || []
  if (second === undefined) return NOTHING
  return { second: Number(second), failure: Number(failure), refusal: Number(refusal) }
}
