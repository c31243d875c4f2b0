import type { Clock } from '../../lib/clock.ts'

/** Lines of one cause within a second. */
export const MAX_LINES = 10
/** Causes that are distinguished within a second; the others share one limit. */
export const MAX_CAUSES = 100
const WINDOW_MS = 1_000

interface Lines {
  count: number
  /** Logs the number of lines that were left out. */
  report: (leftOut: number) => void
}

/**
 * Limits the log lines of one cause: the first ten within a second are written, the others are counted and reported
 * together when the second is over.
 */
export class LineLimit {
  readonly #clock: Pick<Clock, 'after'>
  readonly #lines = new Map<string, Lines>()
  #cancel: (() => void) | null = null

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock
  }

  /** Whether a line of this cause is to be written; `report` is that of the last line that is not. */
  allows(cause: string, report: Lines['report']): boolean {
    if (this.#lines.size === 0) this.#cancel = this.#clock.after(WINDOW_MS, () => this.flush())
    const key = this.#lines.has(cause) || this.#lines.size < MAX_CAUSES ? cause : ''
    const lines = this.#lines.get(key) ?? { count: 0, report }
    this.#lines.set(key, lines)
    lines.count++
    lines.report = report
    return lines.count <= MAX_LINES
  }

  /** Reports what was left out, and begins a new second. */
  flush(): void {
    this.#cancel?.()
    const all = [...this.#lines.values()]
    this.#lines.clear()
    for (const { count, report } of all) if (count > MAX_LINES) report(count - MAX_LINES)
  }
}
