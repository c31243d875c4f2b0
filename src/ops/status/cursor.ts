/** How far a client has read the growing parts of `/status`. */
export interface Cursor {
  /** The last second of the history, since the epoch. */
  readonly second: number
  /** The number of the last failure. */
  readonly failure: number
  /** The number of the last client error. */
  readonly clientError: number
  /** The number of the last change of a state. */
  readonly change: number
}

export const START: Cursor = { second: -1, failure: 0, clientError: 0, change: 0 }

const CURSOR = /^(\d{1,12})\.(\d{1,12})\.(\d{1,12})\.(\d{1,12})$/

/** The value of `?since=`. Its format is opaque to clients. */
export function writeCursor({ second, failure, clientError, change }: Cursor): string {
  return `${second}.${failure}.${clientError}.${change}`
}

/** An invalid cursor means "from the start". */
export function readCursor(text: unknown): Cursor {
  const [, second, failure, clientError, change] = (typeof text === 'string' && CURSOR.exec(text)) || []
  if (second === undefined) return START
  return {
    second: Number(second),
    failure: Number(failure),
    clientError: Number(clientError),
    change: Number(change),
  }
}
