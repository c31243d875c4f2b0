import t from 'tap'
import { createEventLog } from '../../../src/ops/log/event-log.ts'
import { createLogger } from '../../../src/ops/log/logger.ts'
import { TestClock } from '../../support/clock.ts'
import { failure } from '../status/failure.ts'
import { broadcast } from '../../support/broadcast.ts'

function setup() {
  const clock = new TestClock()
  const lines: Record<string, unknown>[] = []
  const destination = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  }
  const log = createLogger({ version: '1.2.3', level: 'info', secrets: () => [], destination })
  const { observers, flush } = createEventLog(log, clock)
  const observer = broadcast(observers)
  const of = (message: string) => lines.filter(({ msg }) => msg === message)
  return { clock, lines, of, observer, flush }
}

await t.test(
  'an opened circuit is logged with the last error, a closed one with what the outage did',
  async (t) => {
    const { clock, lines, observer } = setup()
    observer.upstreamHeldBack('circuit')
    observer.circuitChanged('open', { lastError: 'upstream answered 500', probeInMs: 1_000 })
    for (let i = 0; i < 7; i++) observer.upstreamHeldBack('circuit')
    observer.upstreamHeldBack('rate')
    for (let i = 0; i < 5; i++) observer.lookedUp('stale_error', 60)
    observer.lookedUp('hit', 1)
    await clock.advance(12_000)
    observer.circuitChanged('half_open', {})
    observer.circuitChanged('open', { lastError: 'upstream answered 500', probeInMs: 2_000 })
    observer.circuitChanged('half_open', {})
    observer.circuitChanged('closed', {})
    t.match(lines, [
      { level: 'warn', msg: 'circuit breaker opened', state: 'open', reason: 'upstream answered 500' },
      {
        level: 'info',
        msg: 'circuit breaker closed',
        'state.duration': 12,
        times: 1,
        callsNotMade: 7,
        staleAnswers: 5,
      },
    ])
    t.equal(lines.length, 2)
  },
)

await t.test('throttling for 18 minutes is four lines, the last with counts', async (t) => {
  const { clock, lines, observer } = setup()
  const rejection = { status: 429, diagnosis: 'too many calls', waitMs: 1_000 }
  for (let i = 0; i < 744; i++) {
    observer.upstreamRejected(rejection)
    observer.coolDownStarted(1_000)
    observer.upstreamHeldBack('cool_down')
    await clock.advance(1_000)
    observer.upstreamRecovered()
    await clock.advance(452)
  }
  await clock.advance(60_000)
  t.strictSame(
    lines.map(({ msg }) => msg),
    [
      'upstream rejected the API key or throttled it',
      'upstream accepts calls again',
      'upstream rejected the API key or throttled it',
      'upstream accepts calls again',
    ],
  )
  t.match(lines[0], { status: 429, diagnosis: 'too many calls', waitMs: 1_000 })
  t.match(lines[3], { rejections: 744, callsNotMade: 744 })
})

await t.test(
  'a rejection for another reason is logged while the first lasts, and after a new key',
  async (t) => {
    const { of, observer } = setup()
    const reject = (diagnosis: string) => observer.upstreamRejected({ status: 403, diagnosis, waitMs: 1 })
    reject('a wrong key')
    reject('out of credit')
    reject('a wrong key')
    observer.keyRotated()
    reject('a wrong key')
    t.strictSame(
      of('upstream rejected the API key or throttled it').map(({ diagnosis }) => diagnosis),
      ['a wrong key', 'out of credit', 'a wrong key'],
    )
  },
)

await t.test(
  'at 500 failures a second, each cause has ten lines and one with the number of the others',
  async (t) => {
    const { clock, lines, of, observer, flush } = setup()
    for (let i = 0; i < 500; i++) {
      observer.requestFailed(failure(`a${i}`))
      observer.requestFailed(failure(`b${i}`, { status: 400, code: 'InvalidParameter', reason: 'rule' }))
      await clock.advance(2)
    }
    await clock.advance(1_000)
    t.equal(of('request failed').length, 10)
    t.equal(of('client error').length, 10)
    t.match(of('more like this'), [
      { level: 'error', code: 'UpstreamFailed', status: 502, reason: 'upstream answered 500', count: 490 },
      { level: 'info', code: 'InvalidParameter', status: 400, reason: 'rule', count: 490 },
    ])
    t.equal(lines.length, 22)
    for (let i = 0; i < 11; i++) observer.requestFailed(failure(`c${i}`))
    flush()
    t.equal(of('more like this').length, 3, 'the rest is reported when the process ends')
  },
)

await t.test(
  'lines have the names of OpenTelemetry for service, trace, error, address and duration',
  async (t) => {
    const { of, observer } = setup()
    const cause = Object.assign(new Error('connect ECONNREFUSED', { cause: new Error('inner') }), {
      code: 'ECONNREFUSED',
      secret: 'not listed',
    })
    observer.requestFailed(failure('x', { cause, traceId: 'abc', clientAddress: '203.0.113.0/24' }))
    const [failed = {}] = of('request failed')
    t.match(failed, {
      'service.name': 'ev-availability-proxy',
      'service.version': '1.2.3',
      trace_id: 'abc',
      'client.address': '203.0.113.0/24',
      'exception.type': 'Error',
      'exception.message': 'connect ECONNREFUSED',
      'exception.stacktrace': /^Error: connect/,
      'exception.cause': 'inner',
      'error.type': 'ECONNREFUSED',
    })
    t.strictSame(
      Object.keys(failed).filter((name) => ['err', 'secret', 'traceId', 'clientAddress'].includes(name)),
      [],
    )
    observer.accessLogged({
      trackingId: 'x',
      method: 'GET',
      path: '/healthz',
      status: 200,
      result: 'none',
      ms: 1.5,
    })
    t.match(of('request answered'), [{ 'http.server.request.duration': 0.0015 }])
  },
)
