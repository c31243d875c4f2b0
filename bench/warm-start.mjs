/**
 * What a state directory with many answers costs at start and end: the service with an empty memory, with the directory,
 * and with an empty memory again (A/A), in interleaved rounds.
 *
 * Usage: npm run bench:warm-start
 * ENTRIES: answers in the directory; ROUNDS
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openDatabases } from '../dist/state-dir/databases.js'
import { prepareDirectory } from '../dist/state-dir/directory.js'
import { OPERATIONS } from '../dist/state-dir/operations.js'
import { firstAnswer } from './lib/first-answer.mjs'
import { endWithUs, freePort, SERVER_CORE } from './lib/process.mjs'
import { stationBody, stationId } from './lib/stations.mjs'
import { spread, table } from './lib/stats.mjs'
import { startUpstream } from './lib/upstream-process.mjs'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const ENTRIES = Number(process.env.ENTRIES ?? 100_000)
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const ANSWER_BYTES = 4 * 256e6
const FILL_AT_ONCE = 1_000
const LIFE_MS = 86_400_000
const LIMIT_MS = 60_000
const WEIGHTS = { weight1024ths: 1_024, evidence: 9_000 }

const dir = mkdtempSync(join(tmpdir(), 'evproxy-bench-'))
const STATE_DIR = join(dir, 'state')

/** The answers of an earlier process. */
async function fillDirectory() {
  const db = openDatabases(prepareDirectory(STATE_DIR), ANSWER_BYTES)
  for (let from = 0; from < ENTRIES; from += FILL_AT_ONCE) {
    db.env.transactionSync(() => {
      const context = { db, now: Date.now(), answerBytes: ANSWER_BYTES }
      for (let i = from; i < Math.min(ENTRIES, from + FILL_AT_ONCE); i++) {
        const id = stationId(i)
        const times = { ageMs: 1_000, startedAgoMs: 1_050, changedAt: 0 }
        const station = { served: 3, servedAgesS: 30, changes: 1, watchedS: 600, ...WEIGHTS }
        const answer = { version: `v${i}`, json: stationBody(id), ...times, jitter: 1, station }
        OPERATIONS.publish(context, id, answer, LIFE_MS)
      }
      return null
    })
  }
  await db.env.close()
}

async function cachedEntries(adminPort) {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
  return Number(/^evproxy_cache_entries (\d+)$/m.exec(await answer.text())?.[1])
}

/** Until the memory has all answers: how long that takes, and the longest time for an answer meanwhile. */
async function filled({ adminPort, url }, startedAt) {
  let longest = 0
  for (let i = 0; (await cachedEntries(adminPort)) < ENTRIES; i++) {
    const askedAt = performance.now()
    await (await fetch(url + stationId((i * 7_919) % ENTRIES))).arrayBuffer()
    longest = Math.max(longest, performance.now() - askedAt)
    await wait(10)
    if (performance.now() - startedAt > LIMIT_MS) throw new Error('the memory does not fill')
  }
  return { filledMs: performance.now() - startedAt, longestMs: longest }
}

async function run(upstream, env, { isFilled = false } = {}) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const startedAt = performance.now()
  const child = spawn('taskset', ['-c', SERVER_CORE, process.execPath, MAIN], {
    env: {
      PATH: process.env.PATH,
      TOMTOM_API_KEY: 'bench-key-0123456789',
      TOMTOM_BASE_URL: upstream.url,
      HOST: '127.0.0.1',
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      CACHE_TTL: '1h',
      UPSTREAM_MAX_QPS: '0',
      LOG_LEVEL: 'silent',
      ...env,
    },
    stdio: 'ignore',
  })
  endWithUs(child)
  const url = `http://127.0.0.1:${port}/search/2/chargingAvailability.json?chargingAvailability=`
  const [ready, answered] = await Promise.all([
    firstAnswer(`http://127.0.0.1:${adminPort}/readyz`),
    firstAnswer(url + stationId(0)),
  ])
  const memory = isFilled ? await filled({ adminPort, url }, startedAt) : {}
  const stoppedAt = performance.now()
  child.kill('SIGTERM')
  await once(child, 'exit')
  const exitMs = performance.now() - stoppedAt
  return { readyMs: ready - startedAt, answerMs: answered - startedAt, exitMs, ...memory }
}

await fillDirectory()
const upstream = await startUpstream()
const KINDS = {
  'without `STATE_DIR`': () => run(upstream, {}),
  [`with ${ENTRIES.toLocaleString('en')} answers`]: () => run(upstream, { STATE_DIR }),
  'the same, ended when all are in memory': () => run(upstream, { STATE_DIR }, { isFilled: true }),
  'without it again (A/A)': () => run(upstream, {}),
}
const results = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, []]))
for (let round = 0; round < ROUNDS; round++) {
  for (const [kind, start] of Object.entries(KINDS)) results[kind].push(await start())
}
await upstream.stop()
rmSync(dir, { recursive: true, force: true })

const of = (kind, name) => results[kind].map((result) => result[name]).filter((ms) => ms !== undefined)
const [plain] = Object.keys(KINDS)
const later = (kind, name) => of(kind, name).map((ms, i) => ms - of(plain, name)[i])
const rows = Object.keys(KINDS).map((kind) => [
  kind,
  spread(of(kind, 'readyMs'), 0),
  spread(later(kind, 'readyMs'), 0),
  spread(of(kind, 'answerMs'), 0),
  spread(later(kind, 'answerMs'), 0),
  spread(of(kind, 'exitMs'), 0),
  spread(of(kind, 'filledMs'), 0),
  spread(of(kind, 'longestMs'), 0),
])
console.log(`${ROUNDS} rounds; ms, median (lowest–highest).\n`)
console.log(
  table(
    [
      '',
      'ready',
      'later',
      'first answer',
      'later',
      'SIGTERM to exit',
      'all in memory',
      'longest answer meanwhile',
    ],
    rows,
  ),
)
process.exit(0)
