/** A limit of memory that the kernel keeps: a cgroup of its own for one process, version 1 or 2. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'

const V1 = '/sys/fs/cgroup/memory'
const V2 = '/sys/fs/cgroup'

/**
 * Makes a cgroup with this limit, in bytes; null where this user may not, or the machine has none. `enter` is what a
 * shell does to move itself in, `peak` the most that was ever charged, page cache included, `kills` by the kernel.
 */
export function memoryCgroup(name, limitBytes) {
  return existsSync(`${V1}/memory.limit_in_bytes`)
    ? made(`${V1}/${name}`, limitBytes, V1_FILES)
    : made(`${V2}/${name}`, limitBytes, V2_FILES)
}

const V1_FILES = {
  limit: 'memory.limit_in_bytes',
  peak: 'memory.max_usage_in_bytes',
  events: 'memory.oom_control',
}
const V2_FILES = { limit: 'memory.max', peak: 'memory.peak', events: 'memory.events' }

function made(folder, limitBytes, files) {
  try {
    mkdirSync(folder)
    writeFileSync(`${folder}/${files.limit}`, String(limitBytes))
  } catch {
    if (existsSync(folder)) rmdirSync(folder)
    return null
  }
  const read = (file) => readFileSync(`${folder}/${file}`, 'utf8')
  return {
    enter: `echo $$ > ${folder}/cgroup.procs`,
    peak: () => Number(read(files.peak)),
    kills: () => Number(/^oom_kill (\d+)$/m.exec(read(files.events))?.[1] ?? 0),
    remove: () => rmdirSync(folder),
  }
}
