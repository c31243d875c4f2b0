import { write } from 'node:fs'

export interface LogDestination {
  /** Queues a line, which ends in a line feed. Never blocks; a line for which there is no room is dropped. */
  readonly write: (line: string) => void
  /** Resolves when no line waits any more, written or dropped. Never, while nobody reads a pipe. */
  readonly flush: () => Promise<void>
}

/** Characters of the lines that may wait. */
export const MAX_QUEUED_CHARACTERS = 1_000_000
/** Until the next attempt at a destination that takes nothing at present (EAGAIN). */
const RETRY_MS = 50

/**
 * Writes lines to a file descriptor without ever blocking the event loop: pino's own destination retries a full disk or a
 * pipe that nobody reads in a loop, in which no request is served and no signal is handled. One write is in flight; what
 * it does not take is dropped with a count, so that requests and shutdown never depend on the log.
 */
export function createLogDestination(fd: number, onDropped: (lines: number) => void): LogDestination {
  const waiting: (() => void)[] = []
  let queue: string[] = []
  let characters = 0
  let isWriting = false

  const writeQueue = () => {
    isWriting = queue.length > 0
    if (!isWriting) {
      for (const resolve of waiting.splice(0)) resolve()
      return
    }
    const bytes = Buffer.from(queue.join(''))
    queue = []
    characters = 0
    writeBytes(bytes)
  }
  const writeBytes = (bytes: Buffer) => {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(writeBytes, RETRY_MS, bytes).unref()
      else if (error === null && written < bytes.length) writeBytes(bytes.subarray(written))
      else {
        if (error !== null) onDropped(linesIn(bytes))
        writeQueue()
      }
    })
  }

  return {
    write(line) {
      if (characters + line.length > MAX_QUEUED_CHARACTERS) {
        onDropped(1)
        return
      }
      queue.push(line)
      characters += line.length
      if (isWriting) return
      isWriting = true
      setImmediate(writeQueue) // with the other lines of this turn
    },
    flush: () => new Promise((resolve) => (isWriting ? waiting.push(resolve) : resolve())),
  }
}

function linesIn(bytes: Buffer): number {
  let lines = 0
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) lines++
  return lines
}
