/*
 * The budget of calls, the rate, rejections and the masked key.
 */
import type { Test } from 'tap'
import t from 'tap'
import type { Fault } from '../../src/simulator/fault-document.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStation, answerStatus, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { jsonReport, tableReport, exitCodeOf } from '../../src/verify/report.ts'
import { createMask } from '../../src/verify/mask.ts'
import { ALL, exceptions, KEY, runAgainst, simulatorWith, STATIONS, verdictsOf } from './setup.ts'

/** Answers the first calls by one script and the others by another. */
const after =
  (calls: number, script: Script): Script =>
  (call, response, request) =>
    (call.number <= calls ? answerStation : script)(call, response, request)

async function scripted(t: Test, script: Script) {
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  return { upstream, url: upstream.origin }
}

await t.test('the budget of calls is never exceeded', async (t) => {
  const rows: [maxCalls: number, calls: number, notTried: number][] = []
  for (const maxCalls of [1, 2, 3, 5, 10, 20, 30]) {
    const simulator = await simulatorWith(t, [])
    const run = await runAgainst(simulator, { maxCalls })
    const notTried = Object.values(verdictsOf(run)).filter((verdict) => verdict === 'not tried').length
    rows.push([maxCalls, simulator.calls, notTried])
  }
  t.strictSame(
    rows.map(([maxCalls, calls]) => calls === maxCalls),
    rows.map(() => true),
  )
  t.strictSame(
    rows.map(([, , notTried]) => notTried),
    rows.map(([, , notTried]) => notTried).toSorted((a, b) => b - a),
    'more calls leave fewer assumptions',
  )
  t.ok((rows[0]?.[2] ?? 0) > 15)

  await t.test('and what is known with one call has its verdict', async (t) => {
    const run = await runAgainst(await simulatorWith(t, []), { maxCalls: 1 })
    t.match(verdictsOf(run), {
      sums: 'confirmed',
      cors: 'confirmed',
      'tracking-id-echoed': 'confirmed',
      'power-filter': 'not tried',
    })
    t.equal(run.stopped, null)
    t.equal(exitCodeOf(run), 0)
  })
})

await t.test('the rate is kept between the end of a call and the next', async (t) => {
  const simulator = await simulatorWith(t, [])
  for (const [qps, waitMs] of [
    [2, 500],
    [0.5, 2_000],
    [3, 334],
  ] as const) {
    const { waits, calls } = await runAgainst(simulator, { qps, maxCalls: 10 })
    t.equal(waits.length, calls - 1)
    t.strictSame(
      waits.filter((ms) => ms !== waitMs),
      [],
    )
  }
})

await t.test('a rejection stops the run', async (t) => {
  for (const status of [429, 401, 403]) {
    await t.test(`a ${status} later keeps the verdicts so far`, async (t) => {
      const { url, upstream } = await scripted(t, after(3, answerStatus(status, `key=${KEY}`)))
      const run = await runAgainst({ url }, { stations: ['a'] })
      t.match(run, { calls: 4, stopped: { status }, failure: null })
      t.equal(upstream.calls.length, 4)
      t.equal(verdictsOf(run).post, 'not tried')
      t.equal(verdictsOf(run).sums, 'confirmed')
    })

    await t.test(`a ${status} of the first call means that it could not be run`, async (t) => {
      const { url } = await scripted(t, answerStatus(status))
      const run = await runAgainst({ url })
      t.match(run, { calls: 1, stopped: { status }, failure: /first call failed/ })
      t.equal(exitCodeOf(run), 2)
      t.strictSame(
        Object.values(verdictsOf(run)),
        ALL.map(() => 'not tried'),
      )
    })
  }

  await t.test('the exit code is that of the contradictions until then', async (t) => {
    const run = await runAgainst(await simulatorWith(t, ['no-cors']), { maxCalls: 2 })
    t.equal(exitCodeOf(run), 1)
  })
})

await t.test('an upstream that cannot be examined', async (t) => {
  await t.test('a redirect means that it could not be run', async (t) => {
    const { url, upstream } = await scripted(t, answerStatus(302, '', { location: '/elsewhere' }))
    const run = await runAgainst({ url })
    t.match(run, { calls: 1, failure: /redirects/ })
    t.equal(upstream.calls.length, 1)
    t.equal(exitCodeOf(run), 2)
  })

  await t.test('a closed port or a hanging upstream means that it could not be run', async (t) => {
    const { upstream, url } = await scripted(t, () => {})
    t.match(await runAgainst({ url }, { timeoutMs: 50 }), {
      calls: 1,
      failure: 'nobody answers: no response in time',
    })
    await upstream.stop()
    t.match(await runAgainst({ url }), { calls: 1, failure: /nobody answers: no response \(ECONN/ })
  })

  await t.test('three calls in a row without a response stop the run', async (t) => {
    const { url, upstream } = await scripted(
      t,
      after(2, (_call, response) => void response.destroy()),
    )
    const run = await runAgainst({ url }, { stations: ['a'] })
    t.match(run, { calls: 5, stopped: { status: null }, failure: null })
    t.equal(upstream.calls.length, 5)
  })

  const failures: Fault[] = [
    { outcome: 'status', status: 500 },
    { outcome: 'status', status: 503 },
    { outcome: 'html' },
    { outcome: 'null' },
    { outcome: 'wrong-id' },
    { outcome: 'gzip-bomb' },
  ]
  for (const fault of failures) {
    await t.test(
      `${JSON.stringify(fault)} at every call contradicts nothing that was not seen`,
      async (t) => {
        const simulator = await simulatorWith(t, [])
        simulator.setFaults(fault)
        const run = await runAgainst(simulator)
        const compared = Object.entries(verdictsOf(run)).filter(([id]) =>
          /^(?:connector|power-[fcb]|xml|sums)/.test(id),
        )
        t.strictSame(
          compared.filter(([, verdict]) => verdict !== 'inconclusive' && verdict !== 'not tried'),
          [],
        )
        t.ok(simulator.calls <= 60)
      },
    )
  }

  await t.test('failures of half of the calls contradict nothing', async (t) => {
    let state = 1
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
    const simulator = await simulatorWith(t, [], { random })
    await runAgainst(simulator, { maxCalls: 1 })
    simulator.setFaults({ outcome: 'status', status: 503, probability: 0.3 })
    const run = await runAgainst(simulator)
    t.strictSame(
      Object.entries(exceptions(run)).filter(([, verdict]) => verdict === 'contradicted'),
      [],
    )
  })
})

await t.test('the calls', async (t) => {
  const simulator = await simulatorWith(t, [])
  const { exchanges } = await runAgainst(simulator)

  await t.test('are GET requests of the endpoint but for the checks of other methods', async (t) => {
    t.strictSame(
      simulator.requests.filter(({ method }) => method !== 'GET').map(({ method }) => method),
      ['POST', 'HEAD'],
    )
    t.strictSame([...new Set(simulator.requests.map(({ path }) => path))].toSorted(), [
      '/search/2/chargingAvailability.json',
      '/search/2/chargingAvailability.txt',
      '/search/2/chargingAvailability.xml',
    ])
  })

  await t.test('ask for an unknown id that begins with unknown', async (t) => {
    const ids = simulator.requests.map(({ parameters }) => parameters.get('chargingAvailability'))
    const others = ids.filter((id) => id !== null && !STATIONS.includes(id))
    t.equal(others.length, 1)
    t.match(others[0], /^unknown/)
  })

  await t.test('go below the path of the base URL', async (t) => {
    const { url, upstream } = await scripted(t, answerStation)
    await runAgainst({ url: `${url}/gateway/` }, { maxCalls: 1 })
    t.match(upstream.calls[0]?.url.pathname, /^\/gateway\/search\/2\//)
  })

  t.equal(exchanges.length, simulator.calls)
})

await t.test('the mask', async (t) => {
  const key = 'aB3%+/"<~é'.replace('é', 'Z')
  const mask = createMask(key)
  const percent = (hexOf: (code: number) => string) =>
    Array.from(key, (character) => `%${hexOf(character.charCodeAt(0))}`).join('')
  const spellings: [string, string][] = [
    ['as it is', key],
    ['percent-encoded', encodeURIComponent(key)],
    ['every character, in upper case', percent((code) => code.toString(16).toUpperCase())],
    ['every character, in lower case', percent((code) => code.toString(16))],
    ['twice', encodeURIComponent(encodeURIComponent(key))],
    ['JSON', JSON.stringify(key).slice(1, -1)],
    [
      'JSON escapes',
      Array.from(key, (c) => `\\u00${c.charCodeAt(0).toString(16).padStart(2, '0')}`).join(''),
    ],
    ['XML', key.replaceAll('<', '&lt;').replaceAll('"', '&quot;')],
    ['XML references', Array.from(key, (c) => `&#${c.charCodeAt(0)};`).join('')],
    ['mixed', `%61${key.slice(1)}`],
    ['in lower case', encodeURIComponent(key).toLowerCase()],
  ]
  t.strictSame(
    spellings.map(([what, spelling]) => [what, mask(`x${spelling}y`)]),
    spellings.map(([what]) => [what, 'x[key]y']),
  )
  t.equal(mask('nothing of it: aB3'), 'nothing of it: aB3')

  await t.test('reports contain no spelling of the key', async (t) => {
    const echoed = { etag: `"${KEY}"`, 'cache-control': `a=${KEY}`, 'tracking-id': `%6Bey${KEY.slice(3)}` }
    const { url } = await scripted(t, (call, response) => {
      for (const [name, value] of Object.entries(echoed)) response.setHeader(name, value)
      return answerStation(call, response)
    })
    const run = await runAgainst({ url }, { maxCalls: 3 })
    const reports = [jsonReport(run, createMask(KEY)), tableReport(run, createMask(KEY))].join('\n')
    t.match(reports, /\[key\]/)
    t.notMatch(decodeURIComponent(reports), KEY)
  })
})
