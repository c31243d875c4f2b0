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

/** Encodings change the middle of the key; its head and its tail are the same in all of them. */
const KEY = 'cAnArYkE/+"%41%<&=\\tAiLsEcReT'
/** The key that a client sends. */
const CLIENT_KEY = 'pArRoTkEy4711-of-a-client'

const PARTS = ['cAnArY', 'sEcReT', 'pArRoT', ...['base64', 'base64url', 'hex'].map(encoded)]

function encoded(encoding: string): string {
  return Buffer.from(KEY)
    .toString(encoding as BufferEncoding)
    .replace(/=+$/, '')
}

/** The parts of either key that a text contains. */
function keyPartsIn(text: string): string[] {
  const lower = text.toLowerCase()
  return PARTS.filter((part) => lower.includes(part.toLowerCase()))
}

/** The URL of the call, as an upstream may repeat it. */
const urlOf = ({ url }: UpstreamCall) => `https://upstream.example${url.pathname}${url.search}`

const send = (body: (call: UpstreamCall) => string | Buffer, headers: Record<string, string> = {}) =>
  perCall((call) => sendBody(body(call), headers))

/** A valid answer, except for a member that contains the key. */
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
  ['the key instead of HTTP', sendRaw(`${KEY}\r\n\r\n`)],
  ['no response', hang],
  ['a reset', (_call, response) => void response.socket?.resetAndDestroy()],
  [
    'a connection closed in the body',
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

/** The responses to every kind of request, of both listeners. */
async function requestEverything({ url, adminUrl, addresses }: Proxy): Promise<WireResponse[]> {
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

async function exposesNoKey(t: Test, proxy: Proxy): Promise<void> {
  const answers = await requestEverything(proxy)
  const exposed = answers.filter((answer) => keyPartsIn(fullText(answer)).length > 0)
  t.same(exposed.map(fullText), [], 'the responses')
  await proxy.stop()
  t.ok(proxy.rawLogs.length > 5, 'there are log lines')
  t.same(
    proxy.rawLogs.filter((line) => keyPartsIn(line).length > 0),
    [],
    'the log',
  )
}

const ENV = { TOMTOM_API_KEY: KEY, ACCESS_LOG: 'true', LOG_LEVEL: 'trace', UPSTREAM_TIMEOUT: '300ms' }

await t.test('the key is never exposed, whatever upstream does', async (t) => {
  for (const [name, script] of FAILURES) {
    await t.test(`the key is not exposed after ${name}`, async (t) => {
      const { proxy, upstream } = await startService(t, { script, env: ENV })
      await exposesNoKey(t, proxy)
      t.ok(upstream.calls.length > 0)
      t.ok(
        upstream.calls.every(({ url }) => url.searchParams.get('key') === KEY),
        'every call has the key',
      )
      t.notOk(
        upstream.calls.some(({ url }) => url.href.includes(CLIENT_KEY)),
        "no call has the client's key",
      )
      t.notOk(
        upstream.calls.some(({ url }) => url.pathname === '/echo'),
        'no redirect is followed',
      )
    })
  }

  await t.test('the key is not exposed with stale answers', async (t) => {
    const script = perCall(({ number }) => (number > 2 ? answerStatus(500, KEY) : answerStation))
    const env = { ...ENV, CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' }
    const { proxy } = await startService(t, { script, env })
    await request(proxy.url, pathFor('chargingAvailability=a'))
    await request(proxy.url, pathFor('chargingAvailability=b'))
    await exposesNoKey(t, proxy)
  })
})

/** A service with any address as upstream. */
async function startAt(t: Test, origin: string): Promise<Proxy> {
  const proxy = await startProxy(origin, ENV)
  t.teardown(() => proxy.stop())
  return proxy
}

async function statusOf(proxy: Proxy): Promise<number> {
  return (await request(proxy.url, pathFor('chargingAvailability=first'))).status
}

await t.test('the key is never exposed if upstream cannot be reached', async (t) => {
  await t.test('the key is not exposed if the name does not exist', async (t) => {
    const proxy = await startAt(t, 'http://name.invalid')
    t.match(await statusOf(proxy), /^50[24]$/)
    await exposesNoKey(t, proxy)
  })

  await t.test('the key is not exposed if the port is closed', async (t) => {
    const gone = await ScriptedUpstream.start()
    const { origin } = gone
    await gone.stop()
    const proxy = await startAt(t, origin)
    t.equal(await statusOf(proxy), 502)
    await exposesNoKey(t, proxy)
  })

  await t.test('nothing is sent to an upstream with an untrusted certificate', async (t) => {
    let requests = 0
    const server = createServer(selfSigned(), (_request, response) => {
      requests++
      response.end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const proxy = await startAt(t, `https://localhost:${(server.address() as AddressInfo).port}`)
    t.equal(await statusOf(proxy), 502)
    await exposesNoKey(t, proxy)
    t.equal(requests, 0)
  })

  await t.test('nothing is sent to an upstream without TLS if the URL has https', async (t) => {
    const upstream = await ScriptedUpstream.start()
    t.teardown(() => upstream.stop())
    const proxy = await startAt(t, upstream.origin.replace('http:', 'https:'))
    t.equal(await statusOf(proxy), 502)
    await exposesNoKey(t, proxy)
    t.equal(upstream.calls.length, 0)
  })
})

await t.test("the clients' keys are never exposed, valid or not", async (t) => {
  for (const [name, script] of FAILURES.slice(0, 3)) {
    await t.test(`the keys of clients are not exposed after ${name}`, async (t) => {
      const env = { ...ENV, CLIENT_KEYS: `web=${CLIENT_KEY},other=${CLIENT_KEY}3`, CLIENT_RATE_LIMIT: '2' }
      const { proxy, upstream } = await startService(t, { script, env })
      await request(proxy.url, pathFor(`chargingAvailability=first&key=${CLIENT_KEY}`))
      await exposesNoKey(t, proxy)
      t.match(proxy.rawLogs.join(''), /"client":"web"/, 'names of clients are logged')
      t.notOk(upstream.calls.some(({ url }) => url.href.includes(CLIENT_KEY)))
    })
  }

  await t.test('the keys of clients are not exposed when their file is reloaded', async (t) => {
    const file = join(t.testdir({ clients: `web=${CLIENT_KEY}` }), 'clients')
    const { proxy } = await startService(t, { env: { ...ENV, CLIENT_KEYS_FILE: file } })
    writeFileSync(file, `web=${CLIENT_KEY}4\n${CLIENT_KEY}\n`)
    await until('the invalid file is reported', () => /client keys not reloaded/.test(proxy.rawLogs.join('')))
    writeFileSync(file, `web=${CLIENT_KEY}4\n`)
    await until('the new key is reported', () => /client keys reloaded/.test(proxy.rawLogs.join('')))
    proxy.app.log.info({ note: `${CLIENT_KEY} ${CLIENT_KEY}4` }, 'a slip')
    await exposesNoKey(t, proxy)
  })
})

await t.test('the key in a file', async (t) => {
  await t.test(
    'the file of the key is reloaded when it changes, and the new key used within ten seconds',
    async (t) => {
      const dir = t.testdir({ key: `${KEY}\n` })
      const file = join(dir, 'key')
      const env = { ...ENV, TOMTOM_API_KEY: undefined, TOMTOM_API_KEY_FILE: file, CACHE_TTL: '0' }
      const { get, proxy, upstream } = await startService(t, { env })
      const keyInUse = async () => {
        await get('chargingAvailability=a')
        return upstream.calls.at(-1)?.url.searchParams.get('key')
      }
      t.equal(await keyInUse(), KEY, 'without its line feed')
      writeFileSync(file, 'cAnArY-the-second-sEcReT')
      const changed = async () => {
        await new Promise((resolve) => setTimeout(resolve, 50))
        return (await keyInUse()) === 'cAnArY-the-second-sEcReT'
      }
      await until('the new key is used', changed)
      t.match(proxy.rawLogs.join(''), /API key reloaded/, 'the change is logged')
      await exposesNoKey(t, proxy)
    },
  )

  await t.test('the present key stays active if its file becomes empty, blank or invalid', async (t) => {
    const file = join(t.testdir({ key: 'the-first-key' }), 'key')
    const clock = new TestClock()
    const events: string[] = []
    const observer = {
      keyRotated: () => void events.push('rotated'),
      keyFileChecked: () => {},
      keyReloadFailed: (reason: string) => void events.push(reason),
    }
    const apiKey = openApiKey({ file }, { clock, observer })
    t.teardown(apiKey.stop)
    let seen = 0
    const afterChange = async (content: string) => {
      writeFileSync(file, content)
      await until('the file is read', () => clock.pending > 0)
      await clock.advance(READ_EVERY_MS)
      await until('the file was read', () => clock.pending > 0)
      const reported = events.slice(seen)
      seen = events.length
      return { key: apiKey.current(), reported: reported.length }
    }
    t.same(await afterChange(''), { key: 'the-first-key', reported: 1 }, 'empty, and reported')
    t.same(await afterChange(''), { key: 'the-first-key', reported: 0 }, 'once')
    t.same(await afterChange(' \n'), { key: 'the-first-key', reported: 0 }, 'blank')
    t.same(await afterChange('two\nlines\n'), { key: 'the-first-key', reported: 0 }, 'two lines')
    t.same(await afterChange('the-second-key\n'), { key: 'the-second-key', reported: 1 }, 'another key')
    t.same(await afterChange('the-second-key'), { key: 'the-second-key', reported: 0 }, 'the same key')
    t.same([...apiKey.secrets()], ['the-first-key', 'the-second-key'], 'both stay redacted')
    t.notMatch(events.join(), /the-(first|second)-key|lines/)
  })
})
