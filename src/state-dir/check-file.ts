import { fork } from 'node:child_process'
import { statSync } from 'node:fs'
import { identityOf } from './directory.ts'

/** A check that takes longer is of a file that can be read, and ends unfinished. */
const MAX_CHECK_MS = 5_000
/** The exit code of check.ts, which would run if it were imported. Any other end, such as by a signal, shows nothing of the file. */
const DAMAGED_CODE = 65

/** Whether lmdb can use the store file. Checked in a child process, while this one does other things (check.ts). */
export function isIntact(path: string): Promise<boolean> {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return Promise.resolve(true)
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
  const script = new URL(`./check${extension}`, import.meta.url)
  return new Promise((resolve) => {
    const child = fork(script, [path], { stdio: 'ignore', timeout: MAX_CHECK_MS, killSignal: 'SIGKILL' })
    child.once('error', () => resolve(true))
    child.once('exit', (code) => resolve(code !== DAMAGED_CODE))
  })
}

/** A check that was begun early, of the file with this identity. */
export interface EarlyCheck {
  readonly identity: string | null
  readonly isIntact: Promise<boolean>
}

/** Begins the check of a file that may be missing, or none. */
export function beginCheck(path: string): EarlyCheck {
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true
  return { identity: identityOf(path), isIntact: isFile ? isIntact(path) : Promise.resolve(false) }
}
