import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

/** A secret or a list of keys is far smaller. */
const MAX_FILE_BYTES = 65_536

/**
 * The text of a regular file of at most `maxBytes`. A pipe would block, and a device has no end.
 * @throws Error whose `code` names the problem; its message contains the path but nothing of the content
 */
export function readSmallFile(path: string, maxBytes = MAX_FILE_BYTES): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) // opening a pipe would wait for a writer
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw problem(path, 'no regular file')
    const bytes = Buffer.alloc(Math.min(stat.size, maxBytes) + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(fd, bytes, length, bytes.length - length, null)
    }
    if (length > maxBytes) throw problem(path, `more than ${maxBytes} bytes`)
    return bytes.toString('utf8', 0, length)
  } finally {
    closeSync(fd)
  }
}

function problem(path: string, code: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
