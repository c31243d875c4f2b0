import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import t from 'tap'
import { openApiKey } from '../../src/upstream/tomtom/api-key.ts'
import { READ_EVERY_MS } from '../../src/lib/watched-file.ts'
import type { WireResponse } from '../support/request.ts'
import { request, fullText, pathFor } from '../support/request.ts'
import { TestClock } from '../support/clock.ts'
import { startProxy } from '../support/proxy.ts'
import type { Proxy } from '../support/proxy.ts'
import { sendBytes } from '../support/raw-http.ts'
import type { Script, UpstreamCall } from '../support/scripted-upstream.ts'
import { answerStation, answerStatus, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { perCall, sendBody, sendRaw, hang } from '../support/scripts.ts'
import { selfSigned } from '../support/self-signed.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { until } from '../support/until.ts'

/** Every encoding that may meet it spells its middle in another way; head and tail stay as they are in all. */
const KEY = 'cAnArYkE/+"%<&=\\tAiLsEcReT'
/** What a client takes for its key. */
const CLIENT_KEY = 'pArRoTkEy4711-of-a-client'

const PARTS = ['cAnArY', 'sEcReT', 'pArRoT', ...['base64', 'base64url', 'hex'].map(encoded)]

function encoded(encoding: string): string {
  return Buffer.from(KEY)
    .toString(encoding as BufferEncoding)
    .replace(/=+$/, '')
}

/** The parts of either key that show in a text. */
function shownIn(text: string): string[] {
  const lower = text.toLowerCase()
  return PARTS.filter((part) => lower.includes(part.toLowerCase()))
}

/** The request's own URL, as an upstream that is chatty would tell it. */
const urlOf = ({ url }: UpstreamCall) => `https://upstream.example${url.pathname}${url.search}`

const send = (body: (call: UpstreamCall) => string | Buffer, headers: Record<string, string> = {}) =>
  perCall((call) => sendBody(body(call), headers))

/** An answer that is right but for a member that gives the key away. */
const withNote = (note: (call: UpstreamCall) => string) =>
  send((call) => JSON.stringify({ ...referenceStation(call.id), note: note(call) }))

const FAILURES: readonly [name: string, script: Script][] = [
  ['an answer', answerStation],
  ['400 with the URL', perCall((call) => answerStatus(400, urlOf(call)))],
  ['401 with the URL', perCall((call) => answerStatus(401, urlOf(call)))],
  ['403 with the key', answerStatus(403, `{"key":${JSON.stringify(KEY)}}`)],
  ['404 with the URL', perCall((call) => answerStatus(404, urlOf(call)))],
  [
    '429 with the key in a header',
    answerStatus(429, '', { 'x-error-detail-header': KEY, 'retry-after': KEY }),
  ],
  ['500 with the key', answerStatus(500, `<h1>${KEY}</h1>`)],
  ['503 with the key', answerStatus(503, KEY)],
  ['a status line with the key', sendRaw(`HTTP/1.1 500 ${KEY}\r\n\r\n`)],
  ['a header with the key', sendRaw(`HTTP/1.1 200 OK\r\n${KEY}\r\n\r\n`)],
  ['no HTTP but the key', sendRaw(`${KEY}\r\n\r\n`)],
  ['silence', hang],
  ['a reset', (_call, response) => void response.socket?.resetAndDestroy()],
  [
    'a body that breaks off',
    (call, response) => {
      response.writeHead(200, { 'content-length': '9999' })
      response.write(urlOf(call), () => response.destroy())
    },
  ],
  [
    'a redirect to an echo of the URL',
    perCall((call) => answerStatus(302, urlOf(call), { location: `/echo?${urlOf(call)}` })),
  ],
  ['HTML with the URL', send((call) => `<html><a href="${urlOf(call)}">again</a></html>`)],
  ['text that begins with the key', send(() => KEY)],
  ['text that begins with the URL-encoded key', send(() => encodeURIComponent(KEY))],
  ['JSON that ends in the key', send(() => `{"chargingAvailability":"a","connectors":[],"note":${KEY}`)],
  ['JSON of another shape, with the URL', send((call) => JSON.stringify({ url: urlOf(call), key: KEY }))],
  ['another id, which is the key', send(() => JSON.stringify(referenceStation(KEY)))],
  ['an answer with the key', withNote(() => KEY)],
  ['an answer with the URL', withNote(urlOf)],
  ['an answer with the URL in lower-case escapes', withNote((call) => urlOf(call).replaceAll(/%../g, lower))],
  [
    'an answer with the key in JSON escapes',
    send(({ id }) => {
      const escaped = KEY.split('').map(
        (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
      return `{"note":"${escaped.join('')}",${JSON.stringify(referenceStation(id)).slice(1)}`
    }),
  ],
  [
    'an answer with the key as a name',
    send(({ id }) => JSON.stringify({ ...referenceStation(id), [KEY]: 1 })),
  ],
  ['a prototype member with the key', send(() => `{"__proto__":{"note":${JSON.stringify(KEY)}}}`)],
  ['a gzip bomb', send(() => gzipSync(Buffer.alloc(10_000_000, KEY)), { 'content-encoding': 'gzip' })],
  ['a body beyond the limit', send(() => Buffer.alloc(2_000_000, KEY))],
  ['a coding named as the key', send(() => 'x', { 'content-encoding': encodeURIComponent(KEY) })],
]

function lower(text: string): string {
  return text.toLowerCase()
}

/** Everything that the service shows to anybody after it was asked in every way. */
async function askInEveryWay({ url, adminUrl, addresses }: Proxy): Promise<WireResponse[]> {
  const client = `key=${CLIENT_KEY}`
  const answers: WireResponse[] = []
  const queries = [
    pathFor(`${client}&chargingAvailability=a`),
    pathFor(`chargingAvailability=a&${client}`, 'xml'),
    pathFor(`chargingAvailability=b&minPowerKW=1&${client}&key=${CLIENT_KEY}2`),
    pathFor(client),
    pathFor(`${client}&chargingAvailability=a&minPowerKW=x`, 'xml'),
    pathFor(`${client}&chargingAvailability=a%ff`),
    pathFor(`${client}&chargingAvailability=a`, 'yaml'),
    `/search/3/chargingAvailability.json?${client}`,
    `/search/2/chargingAvailability%zz.json?${client}`,
  ]
  for (const path of queries) answers.push(await request(url, path))
  answers.push(await request(url, pathFor(client), { method: 'POST', body: client }))
  await sendBytes(addresses.public.port, `GET ${pathFor(client)} HTTP/1.1\r\nX : ${CLIENT_KEY}\r\n\r\n`)
  for (const path of ['/metrics', '/readyz', '/livez', '/status', '/', `/nothing?${client}`]) {
    answers.push(await request(adminUrl, path))
  }
  return answers
}

async function showsNothing(t: Test, proxy: Proxy): Promise<void> {
  const answers = await askInEveryWay(proxy)
  for (const answer of answers) t.same(shownIn(fullText(answer)), [], `an answer ${answer.status}`)
  await proxy.stop()
  t.ok(proxy.rawLogs.length > 5, 'it did log')
  t.same(
    proxy.rawLogs.filter((line) => shownIn(line).length > 0),
    [],
    'the log',
  )
}

const ENV = { TOMTOM_API_KEY: KEY, ACCESS_LOG: 'true', LOG_LEVEL: 'trace', UPSTREAM_TIMEOUT: '300ms' }

await t.test('the key is shown to nobody, whatever upstream does', async (t) => {
  for (const [name, script] of FAILURES) {
    await t.test(name, async (t) => {
      const { proxy, upstream } = await startService(t, { script, env: ENV })
      await showsNothing(t, proxy)
      t.ok(upstream.calls.length > 0)
      for (const { url } of upstream.calls) {
        t.equal(url.searchParams.get('key'), KEY, 'while it is in use')
        t.notMatch(url.href, CLIENT_KEY, "and the client's is not")
      }
      t.notOk(
        upstream.calls.some(({ url }) => url.pathname === '/echo'),
        'no redirect is followed',
      )
    })
  }

  await t.test('old answers in its place', async (t) => {
    const script = perCall(({ number }) => (number > 2 ? answerStatus(500, KEY) : answerStation))
    const env = { ...ENV, CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' }
    const { proxy } = await startService(t, { script, env })
    await request(proxy.url, pathFor('chargingAvailability=a'))
    await request(proxy.url, pathFor('chargingAvailability=b'))
    await showsNothing(t, proxy)
  })
})

/** A service whose upstream is somewhere, or nowhere. */
async function startAt(t: Test, origin: string): Promise<Proxy> {
  const proxy = await startProxy(origin, ENV)
  t.teardown(() => proxy.stop())
  return proxy
}

async function statusOf(proxy: Proxy): Promise<number> {
  return (await request(proxy.url, pathFor('chargingAvailability=first'))).status
}

await t.test('the key is shown to nobody, wherever upstream is not', async (t) => {
  await t.test('a name that does not exist', async (t) => {
    const proxy = await startAt(t, 'http://name.invalid')
    t.match(await statusOf(proxy), /^50[24]$/)
    await showsNothing(t, proxy)
  })

  await t.test('a port that nobody listens on', async (t) => {
    const gone = await ScriptedUpstream.start()
    const { origin } = gone
    await gone.stop()
    const proxy = await startAt(t, origin)
    t.equal(await statusOf(proxy), 502)
    await showsNothing(t, proxy)
  })

  await t.test('a certificate that nobody vouches for: nothing is sent to it', async (t) => {
    let requests = 0
    const server = createServer(selfSigned(), (_request, response) => {
      requests++
      response.end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const proxy = await startAt(t, `https://localhost:${(server.address() as AddressInfo).port}`)
    t.equal(await statusOf(proxy), 502)
    await showsNothing(t, proxy)
    t.equal(requests, 0)
  })

  await t.test('TLS asked of one who speaks none', async (t) => {
    const upstream = await ScriptedUpstream.start()
    t.teardown(() => upstream.stop())
    const proxy = await startAt(t, upstream.origin.replace('http:', 'https:'))
    t.equal(await statusOf(proxy), 502)
    await showsNothing(t, proxy)
    t.equal(upstream.calls.length, 0)
  })
})

await t.test("the clients' keys are shown to nobody, whether they let in or not", async (t) => {
  for (const [name, script] of FAILURES.slice(0, 3)) {
    await t.test(name, async (t) => {
      const env = { ...ENV, CLIENT_KEYS: `web=${CLIENT_KEY},other=${CLIENT_KEY}3`, CLIENT_RATE_LIMIT: '2' }
      const { proxy, upstream } = await startService(t, { script, env })
      await request(proxy.url, pathFor(`chargingAvailability=first&key=${CLIENT_KEY}`))
      await showsNothing(t, proxy)
      t.match(proxy.rawLogs.join(''), /"client":"web"/, 'but their names are')
      for (const { url } of upstream.calls) t.notMatch(url.href, CLIENT_KEY)
    })
  }

  await t.test('in a file that is read again', async (t) => {
    const file = join(t.testdir({ clients: `web=${CLIENT_KEY}` }), 'clients')
    const { proxy } = await startService(t, { env: { ...ENV, CLIENT_KEYS_FILE: file } })
    writeFileSync(file, `web=${CLIENT_KEY}4\n${CLIENT_KEY}\n`)
    await until('the mistake is told', () => /client keys not reloaded/.test(proxy.rawLogs.join('')))
    writeFileSync(file, `web=${CLIENT_KEY}4\n`)
    await until('the new key is told', () => /client keys reloaded/.test(proxy.rawLogs.join('')))
    proxy.app.log.info({ note: `${CLIENT_KEY} ${CLIENT_KEY}4` }, 'a slip')
    await showsNothing(t, proxy)
  })
})

await t.test('the key in a file', async (t) => {
  await t.test('is read again when it changes, and the new one used within ten seconds', async (t) => {
    const dir = t.testdir({ key: `${KEY}\n` })
    const file = join(dir, 'key')
    const env = { ...ENV, TOMTOM_API_KEY: undefined, TOMTOM_API_KEY_FILE: file, CACHE_TTL: '0' }
    const { get, proxy, upstream } = await startService(t, { env })
    const keyInUse = async () => {
      await get('chargingAvailability=a')
      return upstream.calls.at(-1)?.url.searchParams.get('key')
    }
    t.equal(await keyInUse(), KEY, 'less its newline')
    writeFileSync(file, 'cAnArY-the-second-sEcReT')
    const changed = async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      return (await keyInUse()) === 'cAnArY-the-second-sEcReT'
    }
    await until('the new key is used', changed)
    t.match(proxy.rawLogs.join(''), /API key reloaded/, 'the log says so')
    await showsNothing(t, proxy)
  })

  await t.test('that becomes empty, blank or unreadable leaves the key in force', async (t) => {
    const file = join(t.testdir({ key: 'the-first-key' }), 'key')
    const clock = new TestClock()
    const heard: string[] = []
    const observer = {
      keyRotated: () => void heard.push('rotated'),
      keyReloadFailed: (reason: string) => void heard.push(reason),
    }
    const apiKey = openApiKey({ file }, { clock, observer })
    t.teardown(apiKey.stop)
    let told = 0
    const afterChange = async (content: string) => {
      writeFileSync(file, content)
      await until('the file is read', () => clock.pending > 0)
      await clock.advance(READ_EVERY_MS)
      await until('the file was read', () => clock.pending > 0)
      const news = heard.slice(told)
      told = heard.length
      return { key: apiKey.current(), news: news.length }
    }
    t.same(await afterChange(''), { key: 'the-first-key', news: 1 }, 'empty, and said so')
    t.same(await afterChange(''), { key: 'the-first-key', news: 0 }, 'once')
    t.same(await afterChange(' \n'), { key: 'the-first-key', news: 0 }, 'blank')
    t.same(await afterChange('two\nlines\n'), { key: 'the-first-key', news: 0 }, 'two lines')
    t.same(await afterChange('the-second-key\n'), { key: 'the-second-key', news: 1 }, 'another key')
    t.same(await afterChange('the-second-key'), { key: 'the-second-key', news: 0 }, 'the same key')
    t.same([...apiKey.secrets()], ['the-first-key', 'the-second-key'], 'both stay unspeakable')
    t.notMatch(heard.join(), /the-(first|second)-key|lines/)
  })
})
