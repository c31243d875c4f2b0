import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'

export interface FileDescriptorDeps {
  readonly observer: Pick<Observer, 'fileDescriptorsExhausted' | 'fileDescriptorsFreed'>
  readonly clock: Pick<Clock, 'after'>
  /** Opens a file and closes it; throws like the functions of node:fs. */
  readonly open?: () => void
}

/** Between two checks. */
export const CHECK_INTERVAL_MS = 5_000
/** Of the process (`ulimit -n`), and of the machine. */
const EXHAUSTED = new Set(['EMFILE', 'ENFILE'])

/**
 * Checks whether the process can still open files and connections, until the returned function is called. By opening one:
 * without a free descriptor libuv accepts and closes new connections, of which Node has neither event nor error.
 */
export function watchFileDescriptors({
  observer,
  clock,
  open = openAndClose,
}: FileDescriptorDeps): () => void {
  let wasExhausted = false
  let cancel: (() => void) | null = null
  const check = () => {
    const isExhausted = isExhaustedFor(open)
    if (isExhausted) observer.fileDescriptorsExhausted()
    else if (wasExhausted) observer.fileDescriptorsFreed()
    wasExhausted = isExhausted
    schedule()
  }
  const schedule = () => {
    cancel = clock.after(CHECK_INTERVAL_MS, check)
  }
  schedule()
  return () => cancel?.()
}

function isExhaustedFor(open: () => void): boolean {
  try {
    open()
    return false
  } catch (error) {
    return EXHAUSTED.has((error as NodeJS.ErrnoException).code ?? '')
  }
}

/** Takes 20 µs, as it is no file of a disk. */
function openAndClose(): void {
  closeSync(openSync(devNull, 'r'))
}
