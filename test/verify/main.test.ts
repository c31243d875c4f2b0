/*
 * The command as a process: options, output, records, exit codes.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Deviation } from '../../src/simulator/deviations.ts'
import { started } from '../simulator/support.ts'
import { build } from '../support/process.ts'
import { answerStation, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { ALL, KEY, simulatorWith, STATIONS } from './setup.ts'

const dir = await build()
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(url: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const environment = { PATH: process.env['PATH'] ?? '', TOMTOM_API_KEY: KEY, TOMTOM_BASE_URL: url, ...env }
  return new Promise((resolve) => {
    const command = [join(dir, 'dist/verify/main.js'), ...args]
    execFile(process.execPath, command, { env: environment, cwd: tmpdir() }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}

const NAMED = ['--stations', STATIONS.join(','), '--qps', '100']

await t.test('the output', async (t) => {
  await t.test('is a table with a line for each assumption, and exit code 0', async (t) => {
    const { url } = await simulatorWith(t, [])
    const { code, stdout, stderr } = await run(url, NAMED)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' })
    const lines = stdout.split('\n')
    t.strictSame(
      ALL.filter((id) => !lines.some((line) => new RegExp(`^${id} +confirmed  `).test(line))),
      [],
    )
  })

  await t.test('with --json is one document and nothing else', async (t) => {
    const simulator = await simulatorWith(t, ['power-levels'])
    const { code, stdout, stderr } = await run(simulator.url, [...NAMED, '--json'])
    t.strictSame({ code, stderr }, { code: 1, stderr: '' })
    const document = JSON.parse(stdout) as {
      assumptions: { id: string; assumption: string; verdict: string; seen: string; reading?: string }[]
      calls: number
    }
    t.strictSame(Object.keys(document), ['assumptions', 'advice', 'calls', 'stopped'])
    t.match(document, { advice: ['POWER_FILTER=levels'], calls: simulator.calls, stopped: null })
    t.strictSame(
      document.assumptions.map(({ id }) => id),
      ALL,
    )
    t.strictSame(
      document.assumptions.filter((one) => 'reading' in one).map(({ id, reading }) => [id, reading]),
      [['power-filter', 'levels']],
    )
  })

  await t.test('is judged against POWER_FILTER of the environment', async (t) => {
    const { url } = await simulatorWith(t, ['power-levels'])
    t.equal((await run(url, NAMED, { POWER_FILTER: 'levels' })).code, 0)
    t.match((await run(url, NAMED)).stdout, /Set POWER_FILTER=levels/)
  })

  await t.test('with --help is the usage, without a key', async (t) => {
    const { code, stdout } = await run('', ['--help'], { TOMTOM_API_KEY: '', TOMTOM_BASE_URL: '' })
    t.equal(code, 0)
    t.match(stdout, /^Usage: npm run verify -- --stations/)
  })
})

await t.test('what cannot be run has exit code 2 and a reason on standard error', async (t) => {
  const { url } = await simulatorWith(t, [])
  const refusing = await started(t, { key: 'another' })
  const cases: [what: string, args: string[], env: Record<string, string>, reason: RegExp][] = [
    ['no stations', [], {}, /--stations: expected at least one id/],
    ['empty stations', ['--stations', ' , '], {}, /--stations: expected at least one id/],
    ['too many stations', ['--stations', Array.from({ length: 21 }, (_, i) => i).join()], {}, /at most 20/],
    ['a long id', ['--stations', 'x'.repeat(129)], {}, /1 to 128 characters/],
    ['an unknown option', [...NAMED, '--fast'], {}, /Unknown option '--fast'/],
    ['an argument', [...NAMED, 'a'], {}, /Unexpected argument/],
    ['no calls', [...NAMED, '--max-calls', '0'], {}, /--max-calls: expected a whole number/],
    ['a fraction of a call', [...NAMED, '--max-calls', '1.5'], {}, /--max-calls/],
    ['too many calls', [...NAMED, '--max-calls', '1001'], {}, /--max-calls/],
    ['no rate', ['--stations', 'a', '--qps', '0'], {}, /--qps: expected a number above 0/],
    ['a word as rate', ['--stations', 'a', '--qps', 'fast'], {}, /--qps/],
    ['no key', NAMED, { TOMTOM_API_KEY: '' }, /TOMTOM_API_KEY/],
    ['an invalid setting', NAMED, { POWER_FILTER: 'all' }, /POWER_FILTER: expected one of recount/],
    [
      'a refused key',
      NAMED,
      { TOMTOM_BASE_URL: refusing.url },
      /first call failed: upstream rejects the key/,
    ],
    ['a closed port', NAMED, { TOMTOM_BASE_URL: 'http://127.0.0.1:1' }, /nobody answers/],
    ['a record that is a file', [...NAMED, '--record', join(dir, 'package.json')], {}, /--record: E/],
  ]
  const ended = await Promise.all(cases.map(([, args, env]) => run(url, args, env)))
  t.strictSame(
    ended.map(({ code, stderr }, at) => {
      const [what, , , reason] = cases[at] as (typeof cases)[number]
      return [what, code, reason.test(stderr)]
    }),
    cases.map(([what]) => [what, 2, true]),
  )
  t.strictSame(
    ended.filter(({ stdout, stderr }) => `${stdout}${stderr}`.includes(KEY)),
    [],
  )
})

await t.test('the limits are accepted at their bounds', async (t) => {
  const simulator = await simulatorWith(t, [])
  t.equal((await run(simulator.url, [...NAMED, '--max-calls', '1000'])).code, 0)
  const ids = Array.from({ length: 20 }, (_, i) => `${'x'.repeat(126)}${i % 10}${i > 9 ? 'a' : 'b'}`)
  t.equal((await run(simulator.url, ['--stations', ids.join(), '--qps', '100', '--max-calls', '1'])).code, 0)
})

await t.test('the key comes from a file', async (t) => {
  const { url } = await simulatorWith(t, [])
  const file = join(dir, 'key')
  writeFileSync(file, `${KEY}\n`)
  t.equal((await run(url, NAMED, { TOMTOM_API_KEY: '', TOMTOM_API_KEY_FILE: file })).code, 0)
})

await t.test('the rate at upstream is never exceeded', async (t) => {
  const at: number[] = []
  const upstream = await ScriptedUpstream.start((call, response) => {
    at.push(performance.now())
    return answerStation(call, response)
  })
  t.teardown(() => upstream.stop())
  await run(upstream.origin, ['--stations', 'a', '--qps', '20', '--max-calls', '12'])
  t.equal(at.length, 12)
  const gaps = at.slice(1).map((moment, i) => moment - (at[i] as number))
  t.strictSame(
    gaps.filter((ms) => ms < 49),
    [],
  )
})

await t.test('records', async (t) => {
  const record = mkdtempSync(join(tmpdir(), 'evproxy-record-'))
  t.teardown(() => rmSync(record, { recursive: true, force: true }))
  const key = 'key/of+the operator'.replace(' ', '~') + 'é0123'.slice(1)
  const upstream = await ScriptedUpstream.start((call, response) => {
    response.setHeader('x-request', `${call.url.href} ${key}`)
    if (call.number === 4) {
      response.statusCode = 400
      response.end(`{"key":${JSON.stringify(key)},"url":"${encodeURIComponent(key).toLowerCase()}"}`)
      return
    }
    return answerStation(call, response)
  })
  t.teardown(() => upstream.stop())
  const args = ['--stations', 'a,b', '--qps', '100', '--record', join(record, 'deep/er')]
  const { stdout, stderr } = await run(upstream.origin, args, { TOMTOM_API_KEY: key })

  const folder = join(record, 'deep/er')
  const files = readdirSync(folder)
  const texts = files.map((name) => readFileSync(join(folder, name), 'utf8'))

  await t.test('there is one for each call, named by its number and purpose', async (t) => {
    t.equal(files.length, upstream.calls.length)
    t.equal(files[0], '001-full.txt')
    t.strictSame(
      files.filter((name) => !/^\d{3}-[a-z-]+\.txt$/.test(name)),
      [],
    )
  })

  await t.test('they have request line, status, headers and body', async (t) => {
    t.match(
      texts[0],
      /^GET \/search\/2\/chargingAvailability\.json\?key=\[key\]&chargingAvailability=a HTTP\/1\.1\n[^]*\n\nHTTP\/1\.1 200\n[^]*content-type: application\/json\n[^]*\n\n\{"connectors":/,
    )
    t.match(texts[3], /\n\nHTTP\/1\.1 400\n[^]*\n\n\{"key":"\[key\]","url":"\[key\]"\}/)
  })

  await t.test('no spelling of the key is in them or in the output', async (t) => {
    const all = [...texts, stdout, stderr].join('\n').toLowerCase()
    const spellings = [key, encodeURIComponent(key), JSON.stringify(key).slice(1, -1)]
    t.strictSame(
      spellings.filter((one) => all.includes(one.toLowerCase())),
      [],
    )
  })
})

await t.test('every deviation can be set when the simulator starts', async (t) => {
  const deviation: Deviation = 'etag'
  const { url } = await started(t, { key: KEY, deviations: [deviation] })
  t.equal((await run(url, NAMED)).code, 1)
})
